# SPDX-License-Identifier: Apache-2.0
"""One figure of all that was measured."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from mmdet_mobilenext.engine.atomic_checkpoint_hook import AtomicLocalBackend

from ..errors import BenchmarkError
from .growth_rows import GrowthRow
from .report import ratios
from .timing import Series

__all__ = ['check_plot_path', 'write_plot']

FORMATS = ('.png', '.svg', '.pdf')
COLOURS = ('#7f7f7f', '#1f77b4', '#d62728', '#2ca02c', '#9467bd', '#ff7f0e', '#17becf', '#8c564b')


def check_plot_path(path: str | os.PathLike) -> None:
    """Refuse a file that cannot be drawn to, before anything is measured.

    Args:
        path (str | PathLike): File to write.

    Raises:
        BenchmarkError: If its name has no known ending.

    Example:
        >>> check_plot_path('speed.png')
    """
    if Path(path).suffix.lower() not in FORMATS:
        raise BenchmarkError(f'--plot takes a file that ends in one of {FORMATS}, not {path}')


def write_plot(
    path: str | os.PathLike, series: Sequence[Series], growth: Sequence[GrowthRow]
) -> None:
    """Draw images/s relative to the first candidate, and the curves of growth.

    Args:
        path (str | PathLike): File to write, whole or not at all.
        series (Sequence[Series]): As the tasks return them.
        growth (Sequence[GrowthRow]): As ``measure_growth`` returns them.

    Raises:
        BenchmarkError: If its name has no known ending.
    """
    check_plot_path(path)
    names = list(dict.fromkeys([*(s.name for s in series), *(row.name for row in growth)]))
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    panels = [
        list(rows)
        for _, rows in groupby(
            [row for row in growth if not row.error], key=lambda row: (row.axis, row.cost)
        )
    ]
    lines = -(-len(panels) // 4)
    figure = Figure(figsize=(14, 4.2 + 3.2 * lines), layout='constrained')
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(1 + lines, 4, height_ratios=[1.3] + [1] * lines)
    _bars(figure.add_subplot(grid[0, :]), series, colours)
    for number, rows in enumerate(panels):
        _curves(figure.add_subplot(grid[1 + number // 4, number % 4]), rows, colours)
    handles = [figure.axes[0].bar(0, 0, color=colour) for colour in colours.values()]
    figure.legend(handles, names, loc='outside upper center', ncols=3, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=Path(path).suffix[1:].lower(), dpi=110)
    AtomicLocalBackend().put(buffer.getvalue(), path)


def _bars(axes: Axes, series: Sequence[Series], colours: dict[str, str]) -> None:
    groups = [list(found) for _, found in groupby(series, key=lambda s: s.measure)]
    for place, group in enumerate(groups):
        width = 0.8 / len(group)
        for number, (one, (ratio, _)) in enumerate(zip(group, ratios(group), strict=True)):
            if ratio is None:
                continue
            x = place + (number - (len(group) - 1) / 2) * width
            axes.bar(x, ratio, width, color=colours[one.name])
            axes.annotate(f'{ratio:.2f}', (x, ratio), ha='center', va='bottom', fontsize=7)
    axes.axhline(1, color='black', linewidth=0.6)
    labels = [group[0].measure.replace(', ', '\n') for group in groups]
    axes.set_xticks(range(len(groups)), labels, fontsize=8)
    axes.set_ylabel('images/s, multiple of the first')


def _curves(axes: Axes, rows: Sequence[GrowthRow], colours: dict[str, str]) -> None:
    for number, row in enumerate(rows):
        axes.plot(
            row.points,
            [1000 * median for median in row.medians],
            marker='o',
            markersize=3,
            color=colours[row.name],
        )
        if row.exponent is not None:
            axes.text(
                0.03,
                0.97 - 0.09 * number,
                f'exponent {row.exponent:.2f}',
                color=colours[row.name],
                fontsize=7,
                va='top',
                transform=axes.transAxes,
            )
    axes.set_xscale('log')
    axes.set_yscale('log')
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter('{x:g}')  # 100, not 10 with a raised 2
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.35)  # room for the exponents
    axes.set_xticks(rows[0].points, [str(p) for p in rows[0].points], fontsize=7)
    axes.minorticks_off()
    axes.set_title(f'{rows[0].cost} with {rows[0].axis}, ms', fontsize=9)
