# SPDX-License-Identifier: Apache-2.0
"""Coverage of objects by priors as tables, a picture and a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.box import SIMPLE
from rich.console import Group
from rich.table import Table

from mmdet_mobilenext.benchmark.page.drawing import MODEL_COLOURS
from mmdet_mobilenext.engine.environment import OptionError

from .coverage import RECALL_IOU, Coverage, recall_by_class, recall_by_size
from .objects import Objects
from .pictures import new_figure

__all__ = ['coverage_figure', 'coverage_summary', 'coverage_tables']


def coverage_summary(
    objects: Objects, coverage: Coverage, edges: Sequence[float]
) -> dict[str, Any]:
    """Everything that is told of one set of objects, as plain numbers.

    Args:
        objects (Objects): The objects.
        coverage (Coverage): Of the same objects.
        edges (Sequence[float]): See :func:`recall_by_size`.

    Returns:
        dict: ``images``, ``objects``, ``recall`` and ``mean_best_iou``, None without objects,
        ``by_class`` and ``by_size`` (number and recall), ``best_iou_histogram`` (20 bins from 0 to
        1), ``best_level`` (objects by the level of their best prior), and ``matched_priors``
        (objects by number of priors, 0 to 9 and 10 or more) and ``matched_levels`` (priors by
        level), None if the matching goes by another rule than the IoU.

    Raises:
        OptionError: If the edges do not ascend.
    """
    if not edges or list(edges) != sorted(set(edges)) or edges[0] <= 0:
        raise OptionError(f'the edges of sizes must ascend and be positive, but are {list(edges)}')
    some = len(coverage.best_iou) > 0
    matched = coverage.matched
    levels = int(coverage.best_level.max()) + 1 if some else 0
    if coverage.matched_levels is not None:
        levels = len(coverage.matched_levels)
    return dict(
        images=len(objects.counts),
        objects=len(objects.boxes),
        recall=coverage.recall if some else None,
        mean_best_iou=coverage.best_iou.mean().item() if some else None,
        by_class=recall_by_class(objects, coverage),
        by_size=recall_by_size(objects, coverage, edges),
        best_iou_histogram=torch.histc(coverage.best_iou, 20, 0, 1).int().tolist(),
        best_level=torch.bincount(coverage.best_level, minlength=levels).tolist(),
        matched_priors=(
            None
            if matched is None
            else torch.bincount(matched.clamp(max=10), minlength=11).tolist()
        ),
        matched_levels=(
            None if coverage.matched_levels is None else coverage.matched_levels.tolist()
        ),
    )


def _percent(row: tuple[int, float | None] | None) -> list[str]:
    if row is None:
        return ['-', '-']
    return [f'{row[0]:,}', '-' if row[1] is None else f'{100 * row[1]:.1f}']


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify='left', title_style='bold', box=SIMPLE)
    for index, column in enumerate(columns):
        table.add_column(column, justify='right' if index else 'left')
    return table


def coverage_tables(summaries: Mapping[str, dict[str, Any]]) -> Group:
    """Recall by class and by size, and what is matched, side by side.

    Args:
        summaries (Mapping[str, dict]): Of :func:`coverage_summary`, by what the objects are.

    Returns:
        Group: For ``rich.print``.
    """
    names = list(summaries)
    two = [f'{what}, {name}' for name in names for what in ('objects', 'recall %')]
    recall = _table(f'Recall of priors at IoU {RECALL_IOU}', '', *two)
    for key in ('by_size', 'by_class'):
        for row in dict.fromkeys(row for s in summaries.values() for row in s[key]):
            cells = (_percent(s[key].get(row)) for s in summaries.values())
            recall.add_row(row, *(text for cell in cells for text in cell))
        recall.add_section()
    totals = ((s['objects'], s['recall']) for s in summaries.values())
    recall.add_row('all', *(text for total in totals for text in _percent(total)))
    ious = [s['mean_best_iou'] for s in summaries.values()]
    texts = (['', '-' if iou is None else f'{iou:.3f}'] for iou in ious)
    recall.add_row('mean best IoU', *(text for pair in texts for text in pair))
    levels = _table(
        'Levels',
        'level',
        *(f'{what}, {name}' for name in names for what in ('best prior', 'matched priors')),
    )
    for level in range(max(len(s['best_level']) for s in summaries.values())):
        cells = []
        for summary in summaries.values():
            for key in ('best_level', 'matched_levels'):
                counts = summary[key]
                known = counts is not None and level < len(counts)
                cells.append(f'{counts[level]:,}' if known else '-')
        levels.add_row(str(level), *cells)
    parts: list[Any] = [recall, levels]
    if any(s['matched_priors'] is None for s in summaries.values()):
        parts.append('The assigner of this config goes by another rule than the IoU: not counted.')
    else:
        matched = _table('Objects by the number of their matched priors', 'priors', *names)
        for count in range(11):
            label = f'{count}' if count < 10 else '10 or more'
            matched.add_row(label, *(f'{s["matched_priors"][count]:,}' for s in summaries.values()))
        parts.append(matched)
    return Group(*parts)


def coverage_figure(summaries: Mapping[str, dict[str, Any]]) -> Figure:
    """Best IoU, matched priors, levels and classes, as shares of the objects.

    Args:
        summaries (Mapping[str, dict]): Of :func:`coverage_summary`, by what the objects are.

    Returns:
        Figure: Four panels.
    """
    figure = new_figure(12, 8)
    grid = figure.subplots(2, 2)
    classes = list(next(iter(summaries.values()))['by_class'])
    width = 0.8 / len(summaries)
    for index, (name, summary) in enumerate(summaries.items()):
        colour = MODEL_COLOURS[index % len(MODEL_COLOURS)]
        count = max(summary['objects'], 1)
        shift = (index - (len(summaries) - 1) / 2) * width
        histogram = 100 * np.array(summary['best_iou_histogram']) / count
        edges = np.linspace(0, 1, 21)
        grid[0, 0].stairs(histogram, edges, color=colour, linewidth=1.8, label=name)
        if summary['matched_priors'] is not None:
            shares = 100 * np.array(summary['matched_priors']) / count
            grid[0, 1].bar(np.arange(11) + shift, shares, width, color=colour)
        shares = 100 * np.array(summary['best_level']) / count
        grid[1, 0].bar(np.arange(len(shares)) + shift, shares, width, color=colour)
        recalls = [summary['by_class'].get(row, (0, None))[1] for row in classes]
        heights = [0 if value is None else 100 * value for value in recalls]
        grid[1, 1].bar(np.arange(len(classes)) + shift, heights, width, color=colour)
    grid[0, 0].axvline(RECALL_IOU, color='black', linewidth=0.8, linestyle=':')
    grid[0, 0].set(xlabel='IoU with the best prior', ylabel='% of objects', xlim=(0, 1))
    grid[0, 1].set(xlabel='priors matched to an object', ylabel='% of objects')
    grid[0, 1].set_xticks(range(11), [*map(str, range(10)), '10+'])
    grid[1, 0].set(xlabel='level of the best prior', ylabel='% of objects')
    grid[1, 0].xaxis.get_major_locator().set_params(integer=True)
    grid[1, 1].set(ylabel=f'recall at IoU {RECALL_IOU}, %', ylim=(0, 100))
    grid[1, 1].set_xticks(range(len(classes)), classes, rotation=90)
    figure.legend(loc='outside upper center', ncols=len(summaries), frameon=False)
    return figure
