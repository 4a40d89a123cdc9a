# SPDX-License-Identifier: Apache-2.0
"""Whether one model is better than another, in numbers and in a sentence.

Two things make a difference of mAP uncertain: the test images are a sample, which the paired
bootstrap measures, and training is random, which several seeds measure. A difference counts as
shown if it is beyond both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from mmdet_mobilenext.evaluation.bootstrap import BootstrapResult

__all__ = ['METRIC_OF_MODE', 'VERDICTS', 'compare_models', 'seed_interval']

VERDICTS: tuple[str, ...] = ('better', 'worse', 'no difference shown')
"""What a comparison can say."""

METRIC_OF_MODE = {'11points': 'voc_11point', 'area': 'voc_area'}
"""Name of the metric, as in the results, of each mode of the bootstrap."""

_MODE_NAMES = {'11points': '11-point', 'area': 'area'}


def seed_interval(
    differences: Sequence[float],
    level: float = 0.95,
    images: tuple[float, float] | None = None,
) -> tuple[float, float] | None:
    """Interval of the mean of paired differences over training seeds, and over test images.

    Over seeds alone it is Student's t interval (The Probable Error of a Mean, Biometrika 6, 1908).
    All seeds are tested on the same images, so their spread is chance in training alone, and the
    chance of the images comes on top: the distances from the mean to the ends of both intervals add
    up in squares (Zou and Donner, Construction of confidence limits about effect measures,
    Statistics in Medicine 27, 2008).

    Args:
        differences (Sequence[float]): One difference for each training seed.
        level (float): Confidence level in 0..1. Defaults to 0.95.
        images (tuple[float, float], optional): Interval of the mean difference over test images.
            Defaults to None, seeds alone.

    Returns:
        tuple[float, float] | None: Low and high end, both the mean if nothing varies; None with
        fewer than two.

    Example:
        >>> low, high = seed_interval([0.01, 0.02, 0.03])
        >>> round(low, 4), round(high, 4)
        (-0.0048, 0.0448)
        >>> seed_interval([0.01]) is None
        True
    """
    values = np.asarray(differences, np.float64)
    if len(values) < 2:
        return None
    mean = float(values.mean())
    reach = 0.0
    if np.ptp(values) > 0:
        error = float(values.std(ddof=1)) / math.sqrt(len(values))
        reach = float(stats.t.ppf((1 + level) / 2, len(values) - 1)) * error
    low, high = (mean, mean) if images is None else images
    below, above = max(mean - low, 0.0), max(high - mean, 0.0)
    return mean - math.hypot(below, reach), mean + math.hypot(above, reach)


def compare_models(
    names: Sequence[str],
    boot: BootstrapResult,
    seed_maps: Sequence[Sequence[float | None]],
    num_images: int | None = None,
    baseline: int = 0,
    level: float = 0.95,
) -> list[dict]:
    """Compare each model with a baseline.

    A model is better (worse) if the whole bootstrap interval of the difference is above (below) 0
    and, with two or more seeds, the whole interval over seeds and test images is too. With several
    comparisons each has the level ``1 - (1 - level) / comparisons`` (Bonferroni), so that all
    intervals of one kind hold together with probability ``level``.

    Args:
        names (Sequence[str]): M names.
        boot (BootstrapResult): Of the same M models, in the same order.
        seed_maps (Sequence[Sequence[float]]): For each model its mAP of each seed, in 0..1, with
            the same seeds in the same order for all.
        num_images (int, optional): Images of the test set, to be checked against the bootstrap.
            Defaults to None, not checked.
        baseline (int): Index of the model to compare with. Defaults to 0.
        level (float): Simultaneous confidence level in 0..1. Defaults to 0.95.

    Returns:
        list[dict]: For each other model ``model``, ``baseline`` (names), ``metric``,
        ``difference`` (model minus baseline, mean over seeds, in 0..1), ``interval`` (of the test
        images, [low, high]), ``level`` (of this comparison), ``seed_differences``,
        ``seed_interval`` ([low, high] over seeds and test images, None with one seed),
        ``verdict`` (one of :data:`VERDICTS`) and ``sentence``.

    Raises:
        ValueError: If numbers of models, seeds or images differ, there is no such baseline, the
            level is not between 0 and 1, or a model has no mAP.

    Example:
        >>> boot = BootstrapResult(
        ...     map=np.array([[0.50, 0.51, 0.52], [0.56, 0.58, 0.57]]),
        ...     per_class=np.zeros((2, 3, 1)),
        ...     point=np.array([0.51, 0.57]),
        ...     point_per_class=np.zeros((2, 1)),
        ...     num_images=500,
        ...     resamples=3,
        ...     seed=0,
        ... )
        >>> result = compare_models(['old', 'new'], boot, [[0.51], [0.57]])[0]
        >>> result['verdict'], round(result['difference'], 2)
        ('better', 0.06)
        >>> result['sentence'].split(',')[0]
        'new is better than old: 57.0 against 51.0 mAP (11-point)'
    """
    _check(names, boot, seed_maps, baseline, level)
    if num_images is not None and num_images != boot.num_images:
        raise ValueError(
            f'num_images is {num_images}, but the bootstrap is of {boot.num_images} test images'
        )
    others = [m for m in range(len(names)) if m != baseline]
    each = level if len(others) < 2 else 1 - (1 - level) / len(others)
    base = np.asarray(seed_maps[baseline], np.float64)
    results = []
    for m in others:
        differences = np.asarray(seed_maps[m], np.float64) - base
        difference = float(differences.mean())
        images = boot.difference_interval(m, baseline, each)
        seeds = seed_interval(differences, each, images)
        intervals = [images] if seeds is None else [images, seeds]
        if all(low > 0 for low, _ in intervals):
            verdict = 'better'
        elif all(high < 0 for _, high in intervals):
            verdict = 'worse'
        else:
            verdict = 'no difference shown'
        results.append(
            {
                'model': names[m],
                'baseline': names[baseline],
                'metric': METRIC_OF_MODE[boot.mode],
                'difference': difference,
                'interval': list(images),
                'level': each,
                'seed_differences': differences.tolist(),
                'seed_interval': None if seeds is None else list(seeds),
                'verdict': verdict,
                'sentence': _sentence(
                    names=(names[m], names[baseline]),
                    values=(float(np.mean(seed_maps[m], dtype=np.float64)), float(base.mean())),
                    difference=difference,
                    images=images,
                    seeds=seeds,
                    verdict=verdict,
                    boot=boot,
                    num_seeds=len(base),
                    level=each,
                    simultaneous=(level, len(others)),
                ),
            }
        )
    return results


def _check(
    names: Sequence[str],
    boot: BootstrapResult,
    seed_maps: Sequence[Sequence[float | None]],
    baseline: int,
    level: float,
) -> None:
    if not len(names) == len(boot.point) == len(seed_maps):
        raise ValueError(
            f'{len(names)} names, {len(boot.point)} models in the bootstrap and '
            f'{len(seed_maps)} lists of mAP: they have to be of the same models'
        )
    if not 0 <= baseline < len(names):
        raise ValueError(f'baseline is {baseline}, but there are {len(names)} models, from 0')
    if not 0 < level < 1:
        raise ValueError(f'level is {level}, but has to be between 0 and 1, such as 0.95')
    lengths = {name: len(values) for name, values in zip(names, seed_maps, strict=True)}
    if min(lengths.values()) == 0 or len(set(lengths.values())) != 1:
        raise ValueError(f'all models need the same training seeds, but have numbers {lengths}')
    for name, values in zip(names, seed_maps, strict=True):
        if any(v is None or not math.isfinite(v) for v in values):
            raise ValueError(
                f'{name} has no mAP ({list(values)}): the test set has no object that counts, so '
                'nothing was evaluated; check its annotations and class names'
            )


def _points(value: float, sign: bool = False) -> str:
    """In mAP points with one decimal, without a minus before a zero."""
    value = round(100 * value, 1) + 0.0
    return f'{value:+.1f}' if sign and value else f'{value:.1f}'


def _range(interval: tuple[float, float]) -> str:
    return f'{_points(interval[0], sign=True)} to {_points(interval[1], sign=True)}'


def _sentence(
    names: tuple[str, str],
    values: tuple[float, float],
    difference: float,
    images: tuple[float, float],
    seeds: tuple[float, float] | None,
    verdict: str,
    boot: BootstrapResult,
    num_seeds: int,
    level: float,
    simultaneous: tuple[float, int],
) -> str:
    size = f'{boot.num_images} test image' + ('s' if boot.num_images != 1 else '')
    mean = '' if num_seeds == 1 else f', mean of {num_seeds} training seeds'
    unit = f'mAP ({_MODE_NAMES[boot.mode]}){mean}'
    (model, other), (ours, theirs) = names, map(_points, values)
    percent = f'{100 * level:.4g} %'
    intervals = (
        f'difference {_points(difference, sign=True)}, {percent} interval {_range(images)} '
        f'over {size}'
    )
    if seeds is None:
        chance = 'one training seed, so chance in training is not covered'
    else:
        chance = f'{percent} interval over seeds and images {_range(seeds)}'
    if verdict == 'no difference shown':
        start = f'no difference shown at this size: {model} {ours} against {other} {theirs} {unit}'
    else:
        start = f'{model} is {verdict} than {other}: {ours} against {theirs} {unit}'
    together = ''
    if simultaneous[1] > 1:
        together = (
            f' ({simultaneous[1]} comparisons, together {100 * simultaneous[0]:.4g} % by '
            "Bonferroni's correction)"
        )
    return f'{start}, {intervals}; {chance}{together}.'
