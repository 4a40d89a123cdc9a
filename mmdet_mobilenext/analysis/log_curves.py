# SPDX-License-Identifier: Apache-2.0
"""Curves of one or several work directories: losses, learning rates, metrics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from mmdet_mobilenext.benchmark.curves import is_training, log_entries
from mmdet_mobilenext.benchmark.page.drawing import line_style, marker_style
from mmdet_mobilenext.engine.environment import OptionError

from .pictures import new_figure

__all__ = ['curve_figure', 'read_curve']


def read_curve(folder: str | Path, key: str) -> list[tuple[int, float]]:
    """One quantity of a training, over its iterations.

    Args:
        folder (str | Path): Work directory.
        key (str): As in the log: ``loss``, ``loss_cls``, ``lr``, ``pascal_voc/mAP``, or the end of
            such a name behind a slash, as ``mAP``.

    Returns:
        list[tuple[int, float]]: Iteration and value. What was done twice because of a kill is
        there once.

    Raises:
        FileNotFoundError: If there is no log.
        OptionError: If the log has no such quantity; it lists those that it has.
    """
    entries = log_entries(Path(folder))
    if not entries:
        raise FileNotFoundError(
            f'{folder} has no log of a training (*/vis_data/scalars.json): give the work directory'
        )
    values: dict[int, float] = {}
    last_of_epoch: dict[int, int] = {}
    iteration, names = 0, set()
    for entry in entries:
        if is_training(entry):
            iteration = int(entry['iter'])
            # a resumed part replaces what came after the checkpoint that it started from
            values = {step: value for step, value in values.items() if step < iteration}
            if 'epoch' in entry:
                last_of_epoch[int(entry['epoch'])] = iteration
            step = iteration
        else:
            # mmengine numbers validations by epoch in epoch-based loops
            step = int(entry.get('step', iteration))
            step = last_of_epoch.get(step, iteration) if last_of_epoch else step
        names |= set(entry)
        for name, value in entry.items():
            if name == key or name.split('/')[-1] == key:
                values[step] = float(value)
                break
    if not values:
        raise OptionError(f'the log of {folder} has no {key!r}, but {sorted(names)}')
    return sorted(values.items())


def curve_figure(
    folders: Sequence[str | Path], keys: Sequence[str], names: Sequence[str] | None = None
) -> Figure:
    """Draw curves, a panel for each quantity and a line for each training.

    Args:
        folders (Sequence[str | Path]): Work directories.
        keys (Sequence[str]): See :func:`read_curve`.
        names (Sequence[str], optional): Of the trainings. Defaults to None, those of the folders.

    Returns:
        Figure: Over iterations.

    Raises:
        FileNotFoundError, OptionError: See :func:`read_curve`; or for names that are not as many
            as folders.
    """
    names = [Path(folder).name for folder in folders] if names is None else list(names)
    if len(names) != len(folders):
        raise OptionError(f'{len(folders)} folders need as many names, but received {names}')
    figure = new_figure(8, 3.2 * len(keys) + 0.3)
    for number, key in enumerate(keys):
        axes = figure.add_subplot(len(keys), 1, number + 1)
        for index, (name, folder) in enumerate(zip(names, folders, strict=True)):
            curve = read_curve(folder, key)
            few = marker_style(index) if len(curve) < 25 else {}
            label = name if number == 0 else None
            axes.plot(*zip(*curve, strict=True), label=label, **line_style(index), **few)
        axes.set(xlabel='iteration', ylabel=key)
        axes.grid(alpha=0.4)
    figure.legend(loc='outside upper center', ncols=min(3, len(names)), frameon=False)
    return figure
