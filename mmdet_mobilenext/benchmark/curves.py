# SPDX-License-Identifier: Apache-2.0
"""Loss and validation curves out of mmengine's own logs."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

__all__ = ['is_training', 'log_entries', 'read_curves', 'training_minutes']

MAP_KEYS = ('pascal_voc/mAP', 'detection/voc_11point')
"""What validation may call 11-point mAP."""


def log_entries(folder: Path) -> list[dict]:
    """All lines of the logs of a run and of its resumed parts, in the order of time.

    Args:
        folder (Path): Work directory of the run.

    Returns:
        list[dict]: As mmengine wrote them; a last line that was cut off by a kill is left out.

    Example:
        >>> log_entries(Path('no such folder'))
        []
    """
    entries = []
    for path in sorted(folder.glob('*/vis_data/scalars.json')):
        for line in path.read_text(encoding='utf-8').splitlines():
            try:
                entry = json.loads(line)
            except ValueError:  # the last line of a part that was killed
                continue
            if isinstance(entry, dict):
                entries.append(entry)
    return entries


def is_training(entry: dict) -> bool:
    """Whether an entry of a log is one of training iterations.

    Args:
        entry (dict): One of :func:`log_entries`.

    Returns:
        bool: Not one of a validation.

    Example:
        >>> is_training(dict(loss=1.0, iter=50))
        True
    """
    return 'loss' in entry and 'iter' in entry


def read_curves(folder: Path, points: int = 300) -> dict[str, list]:
    """Read the curves of a training.

    Args:
        folder (Path): Work directory of the training.
        points (int): Points that a loss curve is thinned to. Defaults to 300.

    Returns:
        dict[str, list]: ``loss``, pairs of iteration and training loss, and ``val_map``, pairs of
            iteration and 11-point mAP in 0..1; empty where there is no log. What was done twice
            because of a kill is there once.

    Example:
        >>> read_curves(Path('no such folder'))
        {'loss': [], 'val_map': []}
    """
    loss: dict[int, float] = {}
    val_map: dict[int, float] = {}
    last_of_epoch: dict[int, int] = {}
    for entry in log_entries(folder):
        if is_training(entry):
            # a resumed part replaces what came after the checkpoint it started from
            iteration = int(entry['iter'])
            loss = {key: value for key, value in loss.items() if key < iteration}
            loss[iteration] = entry['loss']
            if 'epoch' in entry:
                last_of_epoch[int(entry['epoch'])] = iteration
            continue
        value = next((entry[key] for key in MAP_KEYS if key in entry), None)
        if value is not None and loss:
            step = int(entry.get('step', 0))
            # mmengine numbers validations by epoch in epoch-based loops
            val_map[last_of_epoch.get(step, max(loss)) if last_of_epoch else step] = value
    stride = max(1, len(loss) // points)
    return dict(
        # backwards, so that the last point is there
        loss=[[key, loss[key]] for key in sorted(loss)][::-1][::stride][::-1],
        val_map=[[key, val_map[key]] for key in sorted(val_map)],
    )


def training_minutes(folder: Path) -> float | None:
    """Time that a training took, interruptions and validation excluded.

    Args:
        folder (Path): Work directory of the training.

    Returns:
        float | None: Minutes, or None without a log.

    Example:
        >>> training_minutes(Path('no such folder')) is None
        True
    """
    entries = [entry for entry in log_entries(folder) if is_training(entry) and 'time' in entry]
    if not entries:
        return None
    return fmean(entry['time'] for entry in entries) * max(e['iter'] for e in entries) / 60
