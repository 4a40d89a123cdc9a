# SPDX-License-Identifier: Apache-2.0
"""Runs the tasks of ``tools/benchmark_speed.py`` one after the other and keeps what they find."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch

from ..folder import write_json
from .candidate import CandidateSpec, Settings
from .growth import measure_growth
from .growth_rows import AXES, GrowthPlan, GrowthRow
from .lineup import build_candidate, reference_entries, share_images
from .memory import PHASES, measure_in_child
from .operators import measure_operators, operator_tables
from .plot import write_plot
from .report import (
    describe_machine,
    growth_tables,
    loss_shares,
    memory_table,
    metric_table,
    ratios,
    series_tables,
    time_to_map_table,
    versions,
)
from .tasks import measure_epoch, measure_evaluate, measure_load, measure_step
from .time_to_map import time_to_map
from .timing import Series
from .watch import SpeedBoard

__all__ = ['TASKS', 'SpeedSession']

TASKS = (
    'load',
    'step',
    'loss',
    'operators',
    'epoch',
    'evaluate',
    'metric',
    'memory',
    'growth',
    'time-to-map',
)
"""All tasks, in the order in which they run."""

FORMAT = 1
METRIC_IMAGES = 4952
"""Images of VOC2007 test."""


class SpeedSession:
    """Candidates, settings, and what was found so far.

    Args:
        specs (Sequence[CandidateSpec]): The baseline first.
        settings (Settings): Shared settings.
        plan (GrowthPlan, optional): Sizes of the task ``growth``.
        work_dirs (Mapping[str, Path], optional): Trainings of the task ``time-to-map``.
        target_map (float): mAP of that task. Defaults to 0.2.
        growth_axes (Sequence[str]): Axes of the task ``growth``. Defaults to all.
        command (str): What was called, for the file. Defaults to ''.
        json_path (str, optional): File that is written after each task.
    """

    def __init__(
        self,
        specs: Sequence[CandidateSpec],
        settings: Settings,
        plan: GrowthPlan | None = None,
        work_dirs: Mapping[str, Path] | None = None,
        target_map: float = 0.2,
        growth_axes: Sequence[str] = AXES,
        command: str = '',
        json_path: str | os.PathLike | None = None,
    ) -> None:
        self.settings, self.plan = settings, plan or GrowthPlan()
        self.specs = list(specs)
        self.work_dirs, self.target_map = dict(work_dirs or {}), target_map
        self.growth_axes = growth_axes
        self.command, self.json_path = command, json_path
        self.candidates = [build_candidate(s, settings) for s in self.specs]
        self.loaders = [*self.candidates, *self._reference_loaders()]
        self.series: list[Series] = []
        self.growth: list[GrowthRow] = []
        self.memory: list[dict[str, Any]] = []
        self.operators: list[dict[str, Any]] = []
        self.metric: list[tuple[str, float]] = []
        self.time_to_map: list[dict[str, Any]] = []
        self.errors: list[str] = []
        self.notes: list[str] = []
        self.seconds: dict[str, float] = {}

    def _reference_loaders(self) -> list:
        return [build_candidate(s, self.settings) for s in reference_entries(self.specs)]

    def run(self, tasks: Sequence[str], board: SpeedBoard) -> None:
        """Run tasks; what fails is noted in :attr:`errors` and the others go on.

        Args:
            tasks (Sequence[str]): Of :data:`TASKS`.
            board (SpeedBoard): Shows progress and tables.
        """
        # loss and step are timed in the same rounds
        wanted = [t for t in TASKS if t in tasks and not (t == 'step' and 'loss' in tasks)]
        board.tasks = len(wanted)
        self.notes += share_images(self.loaders)
        for note in self.notes:
            board.say(note)
        for task in wanted:
            board.start('step and loss' if task == 'loss' else task)
            start = time.monotonic()
            run: Callable[[SpeedBoard], list[str]] = getattr(self, f'_{task.replace("-", "_")}')
            try:
                tables = run(board)
            except Exception as error:  # a task that cannot run at all
                self.errors.append(f'{task}: {type(error).__name__}: {error}')
                tables = [self.errors[-1]]
            self.seconds[task] = time.monotonic() - start
            board.say('\n\n'.join([*tables, '']))
            self.write(complete=task == wanted[-1])

    # Tasks: each returns its tables -----------------------------------------

    def _timed(self, found: list[Series]) -> list[str]:
        self.series += found
        self.errors += [f'{s.task}: {s.name}: {s.error}' for s in found if s.error]
        return series_tables(found)

    def _load(self, board: SpeedBoard) -> list[str]:
        able = [c for c in self.loaders if c.spec.takes_part('load')]
        return self._timed(measure_load(able, board.watch('loading')))

    def _step(self, board: SpeedBoard) -> list[str]:
        watch = board.watch('training step')
        return self._timed(measure_step(self.candidates, watch, with_loss=False))

    def _loss(self, board: SpeedBoard) -> list[str]:
        found = measure_step(self.candidates, board.watch('training step and loss'))
        shares = ', '.join(f'{n} {100 * share:.1f} %' for n, share in loss_shares(found).items())
        return [*self._timed(found), f'loss and assignment in the step: {shares or "unknown"}']

    def _operators(self, board: SpeedBoard) -> list[str]:
        self.operators = measure_operators(self.candidates, board.watch('operators'))
        self.errors += [
            f'operators: {o["name"]}: {o["error"]}' for o in self.operators if 'error' in o
        ]
        return operator_tables(self.operators)

    def _epoch(self, board: SpeedBoard) -> list[str]:
        return self._timed(measure_epoch(self.candidates, board.watch('epoch')))

    def _evaluate(self, board: SpeedBoard) -> list[str]:
        return self._timed(measure_evaluate(self.candidates, board.watch('evaluation')))

    def _metric(self, board: SpeedBoard) -> list[str]:
        from ..speed_metric import compare_metric_speed

        board.watch('metric')
        self.metric = list(
            compare_metric_speed(num_images=METRIC_IMAGES, runs=min(5, self.settings.runs))
        )
        return [metric_table(self.metric)]

    def _memory(self, board: SpeedBoard) -> list[str]:
        watch, total = board.watch('memory'), len(PHASES) * len(self.specs)
        for phase in PHASES:
            for spec in self.specs:
                row: dict[str, Any] = dict(name=spec.name, phase=phase)
                try:
                    row.update(measure_in_child(spec, self.settings, phase))
                except Exception as error:
                    row['error'] = str(error)
                    self.errors.append(f'memory: {spec.name}, {phase}: {error}')
                self.memory.append(row)
                watch(len(self.memory), total)
        return [memory_table(self.memory)]

    def _growth(self, board: SpeedBoard) -> list[str]:
        self.growth = measure_growth(self.candidates, self.plan, board.watch, self.growth_axes)
        self.errors += [
            f'growth with {row.axis}: {row.cost} of {row.name}: {row.error}'
            for row in self.growth
            if row.error and not row.left_out
        ]
        return growth_tables(self.growth)

    def _time_to_map(self, board: SpeedBoard) -> list[str]:
        for name, folder in self.work_dirs.items():
            try:
                self.time_to_map.append(time_to_map(name, folder, self.target_map))
            except ValueError as error:
                self.time_to_map.append(dict(name=name, target=self.target_map, error=str(error)))
                self.errors.append(f'time-to-map: {name}: {error}')
        return [time_to_map_table(self.time_to_map)]

    # Results ------------------------------------------------------------------

    def to_dict(self, complete: bool = True) -> dict[str, Any]:
        """All that was found, for JSON.

        Args:
            complete (bool): Whether all tasks have run. Defaults to True.

        Returns:
            dict: With every time that was measured.
        """
        found = []
        by_measure: dict[str, list[Series]] = {}
        for one in self.series:
            by_measure.setdefault(one.measure, []).append(one)
        for group in by_measure.values():
            for one, (first, _) in zip(group, ratios(group), strict=True):
                found.append(dict(one.to_dict(), ratio_to_first=first))
        return dict(
            format=FORMAT,
            complete=complete,
            machine=describe_machine(),
            device='cuda' if torch.cuda.is_available() else 'cpu',
            cpu_count=os.cpu_count(),
            threads=torch.get_num_threads(),
            date=date.today().isoformat(),
            command=self.command,
            versions=versions(),
            settings=self.settings.to_dict(),
            growth_plan=dataclasses.asdict(self.plan),
            candidates=[spec.to_dict() for spec in self.specs],
            notes=self.notes,
            seconds=self.seconds,
            series=found,
            loss_share=loss_shares(self.series),
            operators=self.operators,
            metric=[dict(name=name, seconds=seconds) for name, seconds in self.metric],
            memory=self.memory,
            growth=[row.to_dict() for row in self.growth],
            time_to_map=self.time_to_map,
            errors=self.errors,
        )

    def write(self, complete: bool = True) -> None:
        """Write the file, if one was asked for: whole or not at all.

        Args:
            complete (bool): Whether all tasks have run. Defaults to True.
        """
        if self.json_path is not None:
            write_json(self.to_dict(complete), Path(self.json_path))

    def plot(self, path: str | os.PathLike) -> None:
        """Draw the figure.

        Args:
            path (str | PathLike): File to write.
        """
        write_plot(path, self.series, self.growth)
