# SPDX-License-Identifier: Apache-2.0
"""How cost grows: with batch, image size, boxes, classes, images and processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from .candidate import CandidateState, CannotVaryError
from .growth_rows import AXES, GrowthPlan, GrowthRow
from .processes import measure_processes
from .tasks import Watch, one_thread, settled
from .timing import run_rounds, timed

__all__ = ['measure_growth']


Make = Callable[[CandidateState, int], Callable[[], float]]


def _row(
    axis: str,
    cost: str,
    candidate: CandidateState,
    points: Sequence[int],
    make: Make,
    unit: str,
) -> tuple[GrowthRow, dict[int, Callable[[], float]]]:
    """A row, and what runs it at each point; no runners if it cannot be built."""
    row = GrowthRow(axis, cost, candidate.name, list(points), unit=unit)
    runners = {}
    try:
        for point in points:
            runners[point] = make(candidate, point)
    except CannotVaryError as error:
        row.error, row.left_out = str(error), True
        return row, {}
    except Exception as error:  # whatever a foreign detector raises
        row.error = f'{type(error).__name__}: {error}'
        return row, {}
    return row, runners


def _grow(
    axis: str,
    cost: str,
    candidates: Sequence[CandidateState],
    points: Sequence[int],
    make: Make,
    unit: str,
    watch: Watch,
) -> list[GrowthRow]:
    """Time all points of all candidates in turn: point by point, candidate by candidate."""
    rows = {}
    runners: dict[tuple[int, str], Callable[[], float]] = {}
    for candidate in candidates:
        row, made = _row(axis, cost, candidate, points, make, unit)
        rows[candidate.name] = row
        runners.update({(point, candidate.name): runner for point, runner in made.items()})
    runners = dict(sorted(runners.items(), key=lambda item: points.index(item[0][0])))
    found = run_rounds(runners, candidates[0].settings.growth_runs, 1, watch)
    for (_, name), times in found.items():
        row = rows[name]
        if isinstance(times, Exception):
            row.error = row.error or f'{type(times).__name__}: {times}'
        else:
            row.times.append(times)
    for row in rows.values():
        if row.error:
            row.times = []
    return list(rows.values())


def _network_costs(
    batch_of: Callable[[CandidateState, int], Any],
    varied: Callable[[CandidateState, int], CandidateState] = lambda c, point: c,
) -> dict[str, Make]:
    """Training step, loss and prediction, at one point of an axis."""

    def step(candidate: CandidateState, point: int) -> Callable[[], float]:
        candidate = varied(candidate, point)
        batch, task = batch_of(candidate, point), candidate.train_task()
        return settled(candidate, timed(lambda: task(batch)))

    def loss(candidate: CandidateState, point: int) -> Callable[[], float]:
        candidate = varied(candidate, point)
        return settled(candidate, timed(candidate.loss_task(batch_of(candidate, point))))

    def predict(candidate: CandidateState, point: int) -> Callable[[], float]:
        candidate = varied(candidate, point)
        batch = batch_of(candidate, point)
        candidate.calibrate(batch)
        return settled(candidate, timed(lambda: candidate.predict(batch)))

    return dict(step=step, loss=loss, predict=predict)


def measure_growth(
    candidates: Sequence[CandidateState],
    plan: GrowthPlan,
    watch: Callable[[str], Watch],
    axes: Sequence[str] = AXES,
) -> list[GrowthRow]:
    """Time what grows along each axis, all candidates in turn.

    - ``batch``: pipeline, training step, loss and prediction.
    - ``size``: the same. Priors are scaled with the input and strides fitted to the feature maps;
      a candidate that cannot be built at another size is left out, which its row tells.
    - ``boxes``: loss of a batch with so many boxes in each image, and the pipeline of images
      whose labels were replaced by so many.
    - ``classes``: training step, loss and prediction.
    - ``images``: the metric alone, 100 boxes an image.
    - ``processes``: training steps of so many processes together, the batch of each fixed; cost is
      the time for an image, so that an exponent of -1 is the ideal.

    Args:
        candidates (Sequence[CandidateState]): The baseline first.
        plan (GrowthPlan): Sizes.
        watch (Callable): Takes a title and returns what is called after each round.
        axes (Sequence[str]): Which. Defaults to all.

    Returns:
        list[GrowthRow]: One for each axis, cost and candidate.
    """
    fixed = plan.fixed_batch
    sized: dict[tuple[str, int], CandidateState] = {}

    def at(kind: str) -> Callable[[CandidateState, int], CandidateState]:
        def build(candidate: CandidateState, point: int) -> CandidateState:
            key = (candidate.name, point)
            if key not in sized:
                sized[key] = candidate.variant(**{kind: point})
            return sized[key]

        return build

    def load(candidate: CandidateState, count: int) -> Callable[[], float]:
        return timed(lambda: candidate.batch(count))

    def load_sized(candidate: CandidateState, point: int) -> Callable[[], float]:
        candidate = at('input_size')(candidate, point)
        return timed(lambda: candidate.batch(fixed))

    def load_boxes(candidate: CandidateState, point: int) -> Callable[[], float]:
        order = candidate.order(True)
        indices = [order[i % len(order)] for i in range(fixed)]
        return timed(lambda: [candidate.with_boxes(index, point) for index in indices])

    def loss_boxes(candidate: CandidateState, point: int) -> Callable[[], float]:
        run = timed(candidate.loss_task(candidate.synthetic_batch(fixed, point)))
        return settled(candidate, run)

    by_axis: dict[str, dict[str, Make]] = dict(
        batch=dict(load=load, **_network_costs(lambda c, point: c.synthetic_batch(point))),
        size=dict(
            load=load_sized,
            **_network_costs(lambda c, point: c.synthetic_batch(fixed), at('input_size')),
        ),
        boxes=dict(load=load_boxes, loss=loss_boxes),
        classes=_network_costs(lambda c, point: c.synthetic_batch(fixed), at('num_classes')),
    )
    rows = []
    for axis in axes:
        points = getattr(plan, axis)
        if axis == 'images':
            rows += _grow_metric(points, candidates[0].settings.growth_runs, watch)
        elif axis == 'processes':
            rows += _grow_processes(candidates, points, fixed, watch)
        else:
            for cost, make in by_axis[axis].items():
                tell = watch(f'{axis}: {cost}')
                if cost == 'load':
                    with one_thread():
                        rows += _grow(axis, cost, candidates, points, make, 'batch', tell)
                else:
                    rows += _grow(axis, cost, candidates, points, make, 'batch', tell)
        # variants of one axis are of no use to the next
        sized.clear()
        for candidate in candidates:
            candidate.release()
    return rows


def _grow_metric(
    points: Sequence[int], runs: int, watch: Callable[[str], Watch]
) -> list[GrowthRow]:
    tell = watch('images: metric')
    rows: dict[str, GrowthRow] = {}
    try:
        from ..speed_metric import compare_metric_speed

        for number, point in enumerate(points, 1):
            for name, seconds in compare_metric_speed(num_images=point, runs=runs):
                row = rows.setdefault(
                    name, GrowthRow('images', 'metric', name, list(points), unit='test set')
                )
                row.times.append([seconds])
            tell(number, len(points))
    except Exception as error:
        return [
            GrowthRow(
                'images', 'metric', 'all', list(points), error=f'{type(error).__name__}: {error}'
            )
        ]
    return list(rows.values())


def _grow_processes(
    candidates: Sequence[CandidateState],
    points: Sequence[int],
    batch_size: int,
    watch: Callable[[str], Watch],
) -> list[GrowthRow]:
    tell = watch('processes: step')
    settings = candidates[0].settings
    # the same number in each, so that the largest group does not share cores
    threads = max(1, torch.get_num_threads() // max(points))
    unit = f'image, batch {batch_size} and {threads} thread(s) in each process'
    rows = {
        c.name: GrowthRow('processes', 'step', c.name, list(points), unit=unit) for c in candidates
    }
    for number, point in enumerate(points, 1):
        try:
            found = measure_processes(
                [c.spec for c in candidates], settings, point, batch_size, threads
            )
        except Exception as error:
            found = {name: f'{type(error).__name__}: {error}' for name in rows}
        for name, times in found.items():
            if isinstance(times, str):
                rows[name].error = rows[name].error or times
            else:
                rows[name].times.append([seconds / (batch_size * point) for seconds in times])
        tell(number, len(points))
    for row in rows.values():
        if row.error:
            row.times = []
    return list(rows.values())
