# SPDX-License-Identifier: Apache-2.0
"""Training time until a validation mAP is reached, out of the logs of real trainings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..curves import is_training, log_entries, read_curves
from ..errors import BenchmarkError

__all__ = ['parse_work_dirs', 'read_times', 'time_to_map']


def parse_work_dirs(texts: list[str]) -> dict[str, Path]:
    """Read ``NAME=DIR`` of a command line.

    Args:
        texts (list[str]): One for each training.

    Returns:
        dict[str, Path]: Work directory of each name.

    Raises:
        BenchmarkError: If one has another form, is there twice, or is no folder.

    Example:
        >>> parse_work_dirs([])
        {}
    """
    found: dict[str, Path] = {}
    for text in texts:
        name, _, folder = text.partition('=')
        if not name or not folder:
            raise BenchmarkError(f'--work-dirs takes NAME=DIR, but received {text!r}')
        if name in found:
            raise BenchmarkError(f'--work-dirs has {name!r} twice')
        if not Path(folder).is_dir():
            raise BenchmarkError(f'--work-dirs {text}: there is no folder {folder}')
        found[name] = Path(folder)
    return found


def read_times(folder: Path) -> dict[int, float]:
    """Mean time of an iteration, data loading included, as a training has logged it.

    Args:
        folder (Path): Work directory.

    Returns:
        dict[int, float]: Seconds, for each iteration that was logged. What was done twice because
            of a kill is there once.

    Example:
        >>> read_times(Path('no such folder'))
        {}
    """
    times: dict[int, float] = {}
    for entry in log_entries(folder):
        if is_training(entry) and 'time' in entry:
            iteration = int(entry['iter'])
            times = {key: value for key, value in times.items() if key < iteration}
            times[iteration] = entry['time']
    return times


def time_to_map(name: str, folder: Path, target: float) -> dict[str, Any]:
    """When a training first reached a validation mAP.

    Time is that of the iterations, data loading included, validation and interruptions excluded.
    The mAP counts from the validation that measured it: nothing is interpolated.

    Args:
        name (str): Candidate.
        folder (Path): Work directory.
        target (float): mAP in 0..1.

    Returns:
        dict: ``name``, ``reached`` (bool), ``iterations`` and ``seconds`` until then (None if not
            reached), ``best`` mAP and ``trained_seconds`` of the whole training.

    Raises:
        BenchmarkError: If the folder has no log of a training with validation.
    """
    times = read_times(folder)
    validations = read_curves(folder)['val_map']
    if not times or not validations:
        raise BenchmarkError(
            f'{folder} has no log of a training with validation: */vis_data/scalars.json with '
            '`time` and mAP is needed'
        )
    first = next((step for step, value in validations if value >= target), None)
    result: dict[str, Any] = dict(
        name=name,
        target=target,
        reached=first is not None,
        iterations=first,
        seconds=None,
        best=max(value for _, value in validations),
        trained_seconds=_until(times, max(times)),
    )
    if first is not None:
        result['seconds'] = _until(times, first)
    return result


def _until(times: dict[int, float], last: int) -> float:
    """Seconds of all iterations up to one; a log entry holds the mean of those before it."""
    total, done = 0.0, 0
    for iteration in sorted(times):
        until = min(iteration, last)
        total += times[iteration] * max(0, until - done)
        done = until
        if done == last:
            return total
    # validated between two entries: the last mean goes on
    return total + times[max(times)] * (last - done)
