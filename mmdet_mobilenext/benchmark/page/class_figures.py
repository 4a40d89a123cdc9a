# SPDX-License-Identifier: Apache-2.0
"""Bars and matrices: classes, errors and confusion."""

from __future__ import annotations

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba

from .drawing import (
    GRID,
    INK,
    LETTER,
    MODEL_COLOURS,
    MUTED,
    WIDTH,
    Canvas,
    FigureSVG,
    shorten,
    ticks,
)
from .tables import ERROR_NAMES, NOT_EVALUATED, level_text, percent

__all__ = ['confusion_figure', 'errors_figure', 'per_class_figure']

_NUMBERS_UP_TO = 12  # classes: more numbers cannot be read in a confusion matrix


def _bars(
    labels: list[str],
    models: list[str],
    values: list[list[float | None]],
    intervals: list[list[list[float] | None]] | None,
    xlabel: str,
    none: str,
) -> Canvas:
    """Horizontal bars in groups; ``values[model][label]`` in percent, None is written as text."""
    thick = 11
    group = thick * len(models) + 9
    longest = max(len(shorten(label, 20)) for label in labels)
    left = 14 + LETTER * longest
    canvas = Canvas(group * len(labels) + 40, models)
    axes = canvas.axes(left, 2, WIDTH - left - 14, group * len(labels))
    for m, row in enumerate(values):
        places = np.array([group * k + 4.5 + thick * (m + 0.5) for k in range(len(labels))])
        there = [k for k, value in enumerate(row) if value is not None]
        colour = MODEL_COLOURS[m % len(MODEL_COLOURS)]
        axes.barh(places[there], [row[k] for k in there], height=thick - 2, color=colour)
        for k in sorted(set(range(len(labels))) - set(there)):
            if m == 0 or any(other[k] is not None for other in values):  # once if none has it
                axes.text(0, places[k], f' {none}', va='center_baseline', fontsize=9, color=MUTED)
        known = [k for k in there if intervals and intervals[m][k] is not None]
        if known:
            ends = np.array([intervals[m][k] for k in known])
            axes.hlines(places[known], ends[:, 0], ends[:, 1], colors=INK, linewidth=1.2)
            axes.plot(ends.ravel(), places[known].repeat(2), '|', color=INK, markersize=5)
    axes.set_yticks(
        [group * (k + 0.5) for k in range(len(labels))], [shorten(label, 20) for label in labels]
    )
    axes.set_ylim(group * len(labels), 0)
    axes.grid(axis='y', visible=False)
    axes.xaxis.set_major_locator(ticks(6))
    axes.set_xlabel(xlabel)
    return canvas


def per_class_figure(results: dict) -> FigureSVG:
    """AP of each class as bars with intervals."""
    names = [model['name'] for model in results['models']]
    classes, models = results['classes'], results['models']
    entries = [[model['per_class'][name] for name in classes] for model in models]
    values = [[None if e['mean'] is None else 100 * e['mean'] for e in row] for row in entries]
    intervals = [
        [None if e['interval'] is None else [100 * v for v in e['interval']] for e in row]
        for row in entries
    ]
    canvas = _bars(classes, names, values, intervals, '11-point AP at IoU 0.5, %', NOT_EVALUATED)
    canvas.figure.axes[0].set_xlim(0, 100)
    told = '; '.join(
        f'{name}: ' + ', '.join(percent(row[k]['mean']) for row in entries)
        for k, name in enumerate(classes)
    )
    level = level_text(results['protocol']['level'])
    caption = (
        f'Whisker: {level} % interval over resampled test images. A class without objects in the '
        'test set is not evaluated and is in no mean.'
    )
    return canvas.finish('per_class', 'AP of each class', told, caption)


def errors_figure(results: dict) -> FigureSVG | None:
    """Bars of the mAP lost to each type of error; None without an analysis."""
    names = [model['name'] for model in results['models']]
    errors = [model.get('errors') or {} for model in results['models']]
    keys = [key for key in ERROR_NAMES if any(entry.get(key) is not None for entry in errors)]
    if not keys:
        return None
    values = [
        [None if entry.get(key) is None else 100 * entry[key] for key in keys] for entry in errors
    ]
    canvas = _bars(
        [ERROR_NAMES[key] for key in keys],
        names,
        values,
        None,
        'mAP lost to this error, points',
        'not measured',
    )
    found = [value for row in values for value in row if value is not None]
    canvas.figure.axes[0].set_xlim(min(0.0, *found), max(1.0, *found) * 1.05)
    told = '; '.join(
        f'{ERROR_NAMES[key]}: '
        + ', '.join('-' if row[k] is None else f'{row[k]:.1f}' for row in values)
        for k, key in enumerate(keys)
    )
    caption = (
        'Each error is mended alone, so the bars do not add up to what is missing to 100. Mean '
        'over seeds.'
    )
    return canvas.finish('errors', 'Where mAP is lost', told, caption)


def confusion_figure(results: dict, index: int) -> FigureSVG | None:
    """Confusion matrix of a model as a heat map; None without one."""
    model, classes = results['models'][index], results['classes']
    confusion = model.get('confusion')
    if not confusion:
        return None
    matrix = np.asarray(confusion['matrix'], float)
    total = matrix.sum(1, keepdims=True)
    share = np.divide(matrix, total, out=np.zeros_like(matrix), where=total > 0)
    size = len(matrix)
    rows = [shorten(name, 14) for name in classes] + ['no object']
    columns = [shorten(name, 14) for name in classes] + ['missed']
    label = 12 + LETTER * max(map(len, rows + columns))
    side = WIDTH - label - 8
    canvas = Canvas(side + label + 22)
    axes = canvas.axes(label, 4, side, side)
    colour = MODEL_COLOURS[index % len(MODEL_COLOURS)]
    cells = np.argwhere(share)
    squares = [[(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)] for y, x in cells]
    # opacity instead of a pale colour: right on a light and on a dark page
    shades = [to_rgba(colour, share[y, x]) for y, x in cells]
    axes.add_collection(PolyCollection(squares, facecolors=shades, linewidths=0))
    for y, x in cells:
        if len(classes) <= _NUMBERS_UP_TO and round(100 * share[y, x]) > 0:
            ink = 'white' if share[y, x] > 0.8 else INK
            text = f'{100 * share[y, x]:.0f}'
            axes.text(x + 0.5, y + 0.53, text, ha='center', va='center', fontsize=9, color=ink)
    axes.set(xlim=(0, size), ylim=(size, 0))
    axes.set_xticks(np.arange(size) + 0.5, columns, rotation=90)
    axes.set_yticks(np.arange(size) + 0.5, rows)
    axes.set(xlabel='detected as')
    axes.grid(visible=False)
    axes.hlines(np.arange(size + 1), 0, size, colors=GRID, linewidth=0.5)
    axes.vlines(np.arange(size + 1), 0, size, colors=GRID, linewidth=0.5)
    axes.plot([0, size], [size - 1] * 2, [size - 1] * 2, [0, size], color=MUTED, linewidth=0.9)
    for spine in axes.spines.values():
        spine.set_visible(False)
    told = '; '.join(
        f'{name}: {100 * share[k, k]:.0f} % found, {100 * share[k, -1]:.0f} % missed'
        for k, name in enumerate(classes)
    )
    caption = (
        f'Rows: ground truth, in % of the row. Detections with score at least '
        f'{confusion["score_thr"]:g} and IoU at least {confusion["iou_thr"]:g}, first seed. Last '
        'row: detections where there is no object.'
    )
    return canvas.finish(f'confusion_{index}', f'Confusion of {model["name"]}', told, caption)
