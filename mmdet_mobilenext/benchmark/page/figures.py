# SPDX-License-Identifier: Apache-2.0
"""The figures of a report."""

from __future__ import annotations

import numpy as np

from .class_figures import confusion_figure, errors_figure, per_class_figure
from .drawing import (
    GRID,
    INK,
    MODEL_COLOURS,
    MUTED,
    WIDTH,
    Canvas,
    FigureSVG,
    line_style,
    marker_style,
    shorten,
    ticks,
)
from .tables import NOT_EVALUATED, level_text, points

__all__ = ['make_figures']

_VERDICT_COLOURS = {'better': '#009e73', 'worse': '#d55e00'}
_MOST_POINTS = 150  # of a curve: more cannot be seen at this width


def make_figures(results: dict) -> list[FigureSVG]:
    """Draw all figures for which there are numbers.

    Args:
        results (dict): The results, see ``docs/results_schema.md``.

    Returns:
        list[FigureSVG]: ``difference``, ``loss``, ``val_map``, ``per_class``, ``latency``,
        ``pr_mean``, ``pr_classes``, ``errors`` and ``confusion_0``, ``confusion_1``..., those that
        exist.

    Example:
        >>> from mmdet_mobilenext.benchmark.page.figures import make_figures
        >>> def names(results):
        ...     return [figure.name for figure in make_figures(results)]
    """
    makers = (
        _difference,
        _loss,
        _val_map,
        per_class_figure,
        _latency,
        _pr_mean,
        _pr_classes,
        errors_figure,
    )
    with Canvas.style():
        figures = [make(results) for make in makers]
        figures += [confusion_figure(results, index) for index in range(len(results['models']))]
    return [figure for figure in figures if figure is not None]


def _names(results: dict) -> list[str]:
    return [model['name'] for model in results['models']]


def _difference(results: dict) -> FigureSVG | None:
    comparisons = [c for c in results['comparisons'] if c['interval'] is not None]
    if not comparisons:
        return None
    ends = [100 * value for entry in comparisons for value in entry['interval']]
    ends += [100 * d for entry in comparisons for d in entry.get('seed_differences') or []]
    reach = max(1.0, *(abs(value) for value in ends)) * 1.1
    pitch, height = 64, 36
    canvas = Canvas(pitch * len(comparisons) + 38)
    for index, entry in enumerate(comparisons):
        axes = canvas.axes(14, index * pitch + 24, WIDTH - 28, height)
        text = f'{shorten(entry["model"], 34)}: {points(entry["difference"])} points'
        axes.set_title(text, loc='left', pad=5)
        axes.axvline(0, color=INK, linewidth=1.2)
        colour = _VERDICT_COLOURS.get(entry['verdict'], MUTED)
        seeds = [100 * value for value in entry.get('seed_differences') or []]
        y = 0.65 if len(seeds) > 1 else 0.5
        interval = [100 * value for value in entry['interval']]
        axes.plot(interval, [y, y], color=colour, linewidth=5, solid_capstyle='butt')
        axes.plot(100 * entry['difference'], y, 'o', color=colour, markersize=9)
        if len(seeds) > 1:
            axes.plot(seeds, [0.2] * len(seeds), '|', color=INK, markersize=8)
        axes.set(xlim=(-reach, reach), ylim=(0, 1), yticks=[])
        axes.xaxis.set_major_locator(ticks(7))
        axes.spines['left'].set_visible(False)
        if index < len(comparisons) - 1:
            axes.tick_params(labelbottom=False)
    axes.set_xlabel(f'mAP minus that of {shorten(comparisons[0]["baseline"], 28)}, points')
    level = level_text(comparisons[0]['level'])
    told = '; '.join(
        f'{c["model"]} {points(c["difference"])} points, interval {points(c["interval"][0])} to '
        f'{points(c["interval"][1])}, {c["verdict"]}'
        for c in comparisons
    )
    caption = (
        f'Bar: {level} % interval over resampled test images. A bar that holds 0 shows no '
        'difference.'
    )
    if any(len(c.get('seed_differences') or []) > 1 for c in comparisons):
        caption += (
            ' Ticks below: one for each training seed; the interval over seeds and images together '
            'must not hold 0 either.'
        )
    return canvas.finish('difference', 'Difference in mAP', told, caption)


def _thin(curve: list) -> np.ndarray:
    """Means of equal parts of a curve, (n, 2) with n at most ``_MOST_POINTS``."""
    array = np.asarray(curve, float).reshape(-1, 2)
    parts = np.array_split(array, min(len(array), _MOST_POINTS)) if len(array) else []
    return np.array([part.mean(0) for part in parts]).reshape(-1, 2)


def _curves(results: dict, key: str, ylabel: str, scale: float) -> tuple[Canvas, str] | None:
    """Curves of all runs, and what their last points are."""
    curves = [[(run.get('curves') or {}).get(key) for run in m['seeds']] for m in results['models']]
    # an exported file was trained elsewhere
    names = [n if any(c) else None for n, c in zip(_names(results), curves, strict=True)]
    canvas = Canvas(222, names)
    axes = canvas.axes(48, 8, WIDTH - 66, 176)
    last = []
    for index, model in enumerate(results['models']):
        for run, points_of_run in zip(model['seeds'], curves[index], strict=True):
            curve = _thin(points_of_run or [])
            if len(curve):
                few = marker_style(index) | {'markersize': 4} if len(curve) < 25 else {}
                style = line_style(index) | {'linewidth': 1.5} | few
                axes.plot(curve[:, 0], scale * curve[:, 1], **style)
                last.append(f'{model["name"]} seed {run["seed"]}: {scale * curve[-1, 1]:.3g}')
    if not last:
        return None
    axes.set(xlabel='iteration', ylabel=ylabel)
    axes.xaxis.set_major_locator(ticks(5))
    axes.margins(x=0.02)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    return canvas, 'Ends at ' + ', '.join(last)


def _loss(results: dict) -> FigureSVG | None:
    drawn = _curves(results, 'loss', 'training loss', 1)
    if drawn is None:
        return None
    caption = (
        'One line for each run, each point the mean of neighbouring iterations. The loss tells '
        'whether a training was sound, not which detector is better.'
    )
    return drawn[0].finish('loss', 'Training loss', drawn[1], caption)


def _val_map(results: dict) -> FigureSVG | None:
    drawn = _curves(results, 'val_map', '11-point mAP, %', 100)
    if drawn is None:
        return None
    caption = 'Measured during training, one line for each run.'
    return drawn[0].finish('val_map', 'mAP during training', drawn[1], caption)


def _latency(results: dict) -> FigureSVG | None:
    measured = results['volatile'].get('models') or {}
    canvas = Canvas(230, _names(results))
    axes = canvas.axes(48, 8, WIDTH - 66, 184)
    told = []
    for index, model in enumerate(results['models']):
        latency = (measured.get(model['name']) or {}).get('latency_ms')
        value = model['summary']['voc_11point']['mean']
        if not latency or value is None:
            continue
        x, y = latency['median'], 100 * value
        colour = MODEL_COLOURS[index % len(MODEL_COLOURS)]
        axes.plot([x, latency['p95']], [y, y], color=colour, linewidth=1.2)
        if model['interval'].get('voc_11point'):
            low_high = [100 * v for v in model['interval']['voc_11point']]
            axes.plot([x, x], low_high, color=colour, linewidth=1.2)
        axes.plot(x, y, color=colour, **marker_style(index) | {'markersize': 9})
        told.append(f'{model["name"]}: {x:.1f} ms, mAP {y:.1f}')
    if not told:
        return None
    axes.margins(0.12)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(ticks(6))
    axes.yaxis.set_major_locator(ticks(6))
    axes.set(xlabel='latency of one image, ms', ylabel='11-point mAP, %')
    caption = (
        'Upper left is best. Whisker to the right: 95th percentile of the latency; up and down: '
        'interval of the mAP.'
    )
    return canvas.finish('latency', 'Accuracy against latency', '; '.join(told), caption)


def _pr_mean(results: dict) -> FigureSVG | None:
    canvas = Canvas(230, _names(results))
    axes = canvas.axes(48, 8, WIDTH - 66, 184)
    drawn = False
    for index, model in enumerate(results['models']):
        curve = (model.get('pr_curves') or {}).get('mean')
        if curve:
            axes.plot(curve['recall'], curve['precision'], **line_style(index))
            drawn = True
    if not drawn:
        return None
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel='recall', ylabel='precision')
    caption = 'Mean over the evaluated classes at IoU 0.5, first seed; precision is interpolated.'
    told = 'One curve for each model: ' + ', '.join(_names(results))
    return canvas.finish('pr_mean', 'Precision and recall', told, caption)


def _pr_classes(results: dict) -> FigureSVG | None:
    classes, columns, side, pitch = results['classes'], 4, 66, 102
    curves = [model.get('pr_curves') or {} for model in results['models']]
    if not any(curve.get(name) for curve in curves for name in classes):
        return None
    rows, width = -(-len(classes) // columns), 70
    height = rows * pitch + 6
    canvas = Canvas(height, _names(results))
    # One pair of axes in units of the figure: axes for each class take seconds.
    axes = canvas.axes(0, 0, WIDTH, height)
    axes.set(xlim=(0, WIDTH), ylim=(height, 0))
    axes.axis('off')
    for k, name in enumerate(classes):
        row, column = divmod(k, columns)
        left, bottom = 24 + column * 84, 20 + row * pitch + side
        axes.text(left, bottom - side - 4, shorten(name, 12), va='bottom', fontsize=10)
        for share, text in ((0, '0'), (0.5, '.5'), (1, '1')):
            x, y = left + share * width, bottom - share * side
            axes.plot([x, x], [bottom, bottom - side], color=GRID, linewidth=0.8)
            axes.plot([left, left + width], [y, y], color=GRID, linewidth=0.8)
            axes.text(x, bottom + 4, text, ha='center', va='top', fontsize=8.5)
            if column == 0:
                axes.text(left - 5, y, text, ha='right', va='center_baseline', fontsize=8.5)
        corner = [left, left, left + width], [bottom - side, bottom, bottom]
        axes.plot(*corner, color=MUTED, linewidth=0.8)
        found = [(i, curve[name]) for i, curve in enumerate(curves) if curve.get(name)]
        for index, curve in found:
            x = left + width * np.asarray(curve['recall'])
            y = bottom - side * np.asarray(curve['precision'])
            axes.plot(x, y, **line_style(index) | {'linewidth': 1.4})
        if not found:
            x, y = left + width / 2, bottom - side / 2
            text = NOT_EVALUATED.replace(' ', '\n')
            axes.text(x, y, text, ha='center', va='center', fontsize=9, color=MUTED)
    told = f'{len(classes)} panels, one for each class, with one curve for each model'
    caption = 'Recall to the right, precision upwards, at IoU 0.5, first seed.'
    return canvas.finish('pr_classes', 'Precision and recall of each class', told, caption)
