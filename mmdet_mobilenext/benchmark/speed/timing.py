# SPDX-License-Identifier: Apache-2.0
"""Interleaved timing, and what is read from the times.

Runs of the candidates alternate (A B C A B C ...), so that a machine that slows down or speeds up
meanwhile hits all of them alike; ratios are taken within each round.
"""

from __future__ import annotations

import random
import statistics
import time
import traceback
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TypeVar

import numpy as np
import torch

__all__ = [
    'Series',
    'as_series',
    'growth_exponent',
    'run_rounds',
    'speed_ratio',
    'synchronize',
    'time_interleaved',
    'timed',
]


Key = TypeVar('Key', bound=Hashable)


def synchronize() -> None:
    """Wait until the GPU, if there is one, has done all it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def timed(task: Callable[[], object]) -> Callable[[], float]:
    """Let a task tell how long it took.

    Args:
        task (Callable): What to run.

    Returns:
        Callable: Runs it once and returns seconds, work on the GPU included.

    Example:
        >>> timed(lambda: None)() < 1
        True
    """

    def run() -> float:
        synchronize()
        start = time.perf_counter()
        task()
        synchronize()
        return time.perf_counter() - start

    return run


def time_interleaved(
    tasks: Sequence[Callable[[], object]], runs: int, warm_up: int = 3
) -> list[list[float]]:
    """Run tasks in turn and time each run.

    Args:
        tasks (Sequence[Callable]): What to run. An error of one ends all.
        runs (int): Counted runs of each.
        warm_up (int): Runs of each that are not counted. Defaults to 3.

    Returns:
        list[list[float]]: Milliseconds of each run of each task.

    Example:
        >>> [len(times) for times in time_interleaved([lambda: None] * 2, runs=3)]
        [3, 3]
    """
    runners = [timed(task) for task in tasks]
    times: list[list[float]] = [[] for _ in tasks]
    for run in range(-warm_up, runs):
        for runner, record in zip(runners, times, strict=True):
            seconds = runner()
            if run >= 0:
                record.append(1000 * seconds)
    return times


@dataclass
class Series:
    """What was measured of one candidate in one task.

    Attributes:
        task (str): Task of the command line, such as ``'step'``.
        measure (str): What was timed, such as ``'training step, batch 24'``.
        name (str): Candidate.
        images (int): Images in each run.
        times (list[float]): Seconds of each counted run, in the order of the rounds.
        error (str, optional): Why it failed; then there are no times.
        details (str, optional): Traceback of the error.

    Example:
        >>> series = Series('step', 'training step', 'ours', 8, [0.5, 1.0, 2.0])
        >>> series.median, series.images_per_second
        (1.0, 8.0)
    """

    task: str
    measure: str
    name: str
    images: int
    times: list[float] = field(default_factory=list)
    error: str | None = None
    details: str | None = None

    @property
    def median(self) -> float:
        """float: Median, seconds."""
        return statistics.median(self.times)

    @property
    def p95(self) -> float:
        """float: 95th percentile, seconds."""
        if len(self.times) == 1:
            return self.times[0]
        # between runs that were measured, never beyond the slowest
        return statistics.quantiles(self.times, n=20, method='inclusive')[-1]

    @property
    def images_per_second(self) -> float:
        """float: Images of a run by the median time."""
        return self.images / self.median

    def to_dict(self) -> dict:
        """All fields and what follows from them, for JSON."""
        found = asdict(self)
        if not self.error:
            found.update(median=self.median, p95=self.p95, images_per_second=self.images_per_second)
        return found


def run_rounds(
    runners: Mapping[Key, Callable[[], float]],
    rounds: int,
    warm_up: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
    order: random.Random | None = None,
) -> dict[Key, list[float] | Exception]:
    """Run all candidates in turn; one that fails is left out from there on.

    Args:
        runners (Mapping[Key, Callable]): Each runs once and returns its seconds.
        rounds (int): Counted runs of each.
        warm_up (int): Runs of each that are not counted. Defaults to 1.
        progress (Callable): Called after each round with rounds done and in all.
        order (random.Random, optional): Draws the order of the candidates in each round: none
            always follows the same one. Defaults to None, the order they are given in.

    Returns:
        dict[Key, list[float] | Exception]: Seconds of each counted run, or the error.

    Example:
        >>> run_rounds(dict(a=lambda: 2.0, b=lambda: 1 / 0), rounds=2)
        {'a': [2.0, 2.0], 'b': ZeroDivisionError('division by zero')}
    """
    found: dict[Key, list[float] | Exception] = {name: [] for name in runners}
    for run in range(-warm_up, rounds):
        names = list(runners)
        if order is not None:
            order.shuffle(names)
        for name in names:
            runner, times = runners[name], found[name]
            if isinstance(times, Exception):
                continue
            try:
                seconds = runner()
            except Exception as error:  # whatever a foreign detector raises
                found[name] = error
                continue
            if run >= 0:
                times.append(seconds)
        progress(run + warm_up + 1, rounds + warm_up)
    return found


def as_series(
    found: Mapping[str, list[float] | Exception], task: str, measure: str, images: int
) -> list[Series]:
    """Times and errors of :func:`run_rounds` as series.

    Args:
        found (Mapping): Of each candidate.
        task (str): Task of the command line.
        measure (str): What was timed.
        images (int): Images in each run.

    Returns:
        list[Series]: In the same order.
    """
    result = []
    for name, times in found.items():
        series = Series(task, measure, name, images)
        if isinstance(times, Exception):
            series.error = f'{type(times).__name__}: {times}'
            series.details = ''.join(traceback.format_exception(times))
        else:
            series.times = times
        result.append(series)
    return result


def speed_ratio(base: Series | None, other: Series) -> float | None:
    """How many times as fast one candidate is as another.

    Args:
        base (Series, optional): What to compare with.
        other (Series): What is compared, timed in the same rounds.

    Returns:
        float | None: Median over the rounds of the ratios of images per second; None if one of
            them failed or they were timed in different numbers of rounds.

    Example:
        >>> base = Series('step', 'step', 'base', 4, [2.0, 4.0, 6.0])
        >>> speed_ratio(base, Series('step', 'step', 'ours', 4, [1.0, 2.0, 1.0]))
        2.0
    """
    if base is None or base.error or other.error or len(base.times) != len(other.times):
        return None
    scale = other.images / base.images if base.images else 1.0
    return scale * statistics.median(b / t for b, t in zip(base.times, other.times, strict=True))


def growth_exponent(points: Sequence[float], values: Sequence[float]) -> float:
    """How a cost grows: ``e`` of the ``points ** e`` that fits best, 1 being linear.

    Args:
        points (Sequence[float]): At least two sizes, above zero.
        values (Sequence[float]): Cost at each, above zero.

    Returns:
        float: Slope of the least-squares line through the logarithms.

    Example:
        >>> round(growth_exponent([1, 2, 4], [3, 6, 12]), 6)
        1.0
    """
    if len(points) < 2 or min(points) <= 0 or min(values) <= 0:
        raise ValueError(
            f'an exponent needs at least two points, all above zero, but received {list(points)} '
            f'with {list(values)}'
        )
    return float(np.polyfit(np.log(points), np.log(values), 1)[0])
