# SPDX-License-Identifier: Apache-2.0
"""Sizes at which cost is measured, and what was found there."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any

from .timing import growth_exponent

__all__ = ['AXES', 'GrowthPlan', 'GrowthRow']

AXES = ('batch', 'size', 'boxes', 'classes', 'images', 'processes')


@dataclass
class GrowthPlan:
    """Which sizes are measured.

    Attributes:
        batch (tuple[int, ...]): Images of a batch.
        size (tuple[int, ...]): Height and width of the input in pixels.
        boxes (tuple[int, ...]): Boxes in each image.
        classes (tuple[int, ...]): Classes.
        images (tuple[int, ...]): Images of the metric.
        processes (tuple[int, ...]): Processes that train together.
        fixed_batch (int): Images of a batch where something else grows. Defaults to 8.

    Example:
        >>> GrowthPlan().boxes
        (1, 3, 10, 30, 100, 300)
    """

    batch: tuple[int, ...] = (4, 8, 16, 24)
    size: tuple[int, ...] = (160, 320, 512)
    boxes: tuple[int, ...] = (1, 3, 10, 30, 100, 300)
    classes: tuple[int, ...] = (20, 80, 365)
    images: tuple[int, ...] = (1000, 2476, 4952)
    processes: tuple[int, ...] = (1, 2)
    fixed_batch: int = 8


@dataclass
class GrowthRow:
    """How one cost of one candidate grows along one axis.

    Attributes:
        axis (str): One of :data:`AXES`.
        cost (str): What was timed: ``load``, ``step``, ``loss``, ``predict`` or ``metric``.
        name (str): Candidate.
        points (list[int]): Sizes along the axis.
        times (list[list[float]]): Seconds of each run at each point.
        unit (str): What one run does.
        error (str, optional): Why it failed, or was left out.
        left_out (bool): Whether it cannot be measured by its nature; no failure.

    Example:
        >>> row = GrowthRow('batch', 'step', 'ours', [1, 2, 4], [[1.0], [2.0], [4.0]])
        >>> round(row.exponent, 6), round(row.last_exponent, 6)
        (1.0, 1.0)
    """

    axis: str
    cost: str
    name: str
    points: list[int]
    times: list[list[float]] = field(default_factory=list)
    unit: str = ''
    error: str | None = None
    left_out: bool = False

    @property
    def medians(self) -> list[float]:
        """list[float]: Median seconds at each point."""
        return [statistics.median(times) for times in self.times]

    @property
    def exponent(self) -> float | None:
        """Of all points, see ``growth_exponent``; None for a single one."""
        return growth_exponent(self.points, self.medians) if len(self.points) > 1 else None

    @property
    def last_exponent(self) -> float | None:
        """Of the two largest points: what is fixed weighs least there."""
        if len(self.points) < 2:
            return None
        return growth_exponent(self.points[-2:], self.medians[-2:])

    def to_dict(self) -> dict:
        """All fields and what follows from them, for JSON."""
        found: dict[str, Any] = dict(
            axis=self.axis,
            cost=self.cost,
            name=self.name,
            points=self.points,
            times=self.times,
            unit=self.unit,
            error=self.error,
            left_out=self.left_out,
        )
        if self.error is None:
            found.update(
                medians=self.medians, exponent=self.exponent, last_exponent=self.last_exponent
            )
        return found
