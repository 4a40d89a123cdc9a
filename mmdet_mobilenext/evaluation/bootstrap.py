# SPDX-License-Identifier: Apache-2.0
"""How much mAP, and differences of mAP, would change with other test images.

The bootstrap of Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13
(percentile interval), over images: detections of one image are not independent, images are. All
models are measured on the same resampled images, so that what is hard for all of them cancels in
a difference. On simulated pairs of equally good detectors the 95 % percentile interval of the
difference holds 0 in 96 % of cases (11-point mAP, 300 images); the interval mirrored at the point
("basic") does so in 86 % only, because resampling favours the interpolated precision. For the same
reason an interval of one model's mAP lies a little high.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from mmdet_mobilenext.evaluation.average_precision import (
    RECALLS_11POINT,
    class_average_precisions,
)
from mmdet_mobilenext.evaluation.matching import Matches, match_voc
from mmdet_mobilenext.evaluation.records import DetectionRecords

__all__ = ['BOOTSTRAP_MODES', 'BootstrapResult', 'bootstrap_map', 'reweighted_average_precisions']

BOOTSTRAP_MODES: tuple[str, ...] = ('11points', 'area')
"""Kinds of average precision that are resampled, both at IoU 0.5."""

# Numbers of one array of a chunk (resamples x true positives): about what fits into a cache.
_CHUNK_NUMBERS = 1 << 20
_CHUNK_MOST = 128


@dataclass(frozen=True)
class BootstrapResult:
    """mAP of M models on B resampled test sets.

    Attributes:
        map (np.ndarray): (M, B) float64, mean over seeds of the mAP in 0..1; NaN where no class
            has an object in a resample.
        per_class (np.ndarray): (M, B, K) float64, mean over seeds of the average precision; NaN
            where the class has no object in a resample.
        point (np.ndarray): (M,) float64, on the test set itself; NaN if nothing is evaluated.
        point_per_class (np.ndarray): (M, K) float64, on the test set itself; NaN for a class that
            is not evaluated.
        num_images (int): Images of the test set, and of each resample.
        resamples (int): B.
        seed (int): Seed of the resamples.
        mode (str): Kind of average precision.
    """

    map: np.ndarray
    per_class: np.ndarray
    point: np.ndarray
    point_per_class: np.ndarray
    num_images: int
    resamples: int
    seed: int
    mode: str = '11points'

    def interval(self, m: int, level: float = 0.95) -> tuple[float, float]:
        """Interval of the mAP of a model.

        Args:
            m (int): Index of the model.
            level (float): Confidence level in 0..1. Defaults to 0.95.

        Returns:
            tuple[float, float]: Low and high end, NaN if nothing is evaluated.

        Raises:
            ValueError: If the level is not between 0 and 1.
        """
        return _percentile_interval(self.map[m], level)

    def difference_interval(self, a: int, b: int, level: float = 0.95) -> tuple[float, float]:
        """Interval of the mAP of model ``a`` minus that of model ``b``, on the same images.

        Args:
            a (int): Index of a model.
            b (int): Index of the model to subtract.
            level (float): Confidence level in 0..1. Defaults to 0.95.

        Returns:
            tuple[float, float]: Low and high end, NaN if nothing is evaluated.

        Raises:
            ValueError: If the level is not between 0 and 1.
        """
        return _percentile_interval(self.map[a] - self.map[b], level)

    def class_interval(self, m: int, k: int, level: float = 0.95) -> tuple[float, float] | None:
        """Interval of the average precision of one class.

        Args:
            m (int): Index of the model.
            k (int): Index of the class.
            level (float): Confidence level in 0..1. Defaults to 0.95.

        Returns:
            tuple[float, float] | None: Low and high end over the resamples that have the class;
            None for a class that is not evaluated, or is in no resample.

        Raises:
            ValueError: If the level is not between 0 and 1.
        """
        values = self.per_class[m, :, k]
        if np.isnan(self.point_per_class[m, k]) or np.isnan(values).all():
            return None
        return _percentile_interval(values, level)


def bootstrap_map(
    models: Sequence[Sequence[DetectionRecords]],
    resamples: int = 1000,
    seed: int = 0,
    mode: str = '11points',
    progress: Callable[[int, int], None] | None = None,
) -> BootstrapResult:
    """Measure models on test sets of images drawn with replacement, the same for all of them.

    Detections are matched with objects once, by the rules of VOC at IoU 0.5. An image that is
    drawn twice counts its objects and its detections twice. The result depends on the seed and on
    the order of the images only.

    Args:
        models (Sequence[Sequence[DetectionRecords]]): For each model the detections of each of its
            training seeds.
        resamples (int): Test sets to draw. Defaults to 1000.
        seed (int): Seed of the draws. Defaults to 0.
        mode (str): Kind of average precision, ``11points`` or ``area``, see
            :func:`~mmdet_mobilenext.evaluation.average_precision.average_precision`. Defaults to
            ``11points``.
        progress (Callable[[int, int], None], optional): Called with the finished resamples and
            their number. Defaults to None.

    Returns:
        BootstrapResult: mAP and average precisions of each resample.

    Raises:
        ValueError: If there is no model, seed, image or resample, if records have other images or
            objects than the first ones, or if there is no such mode.

    Example:
        >>> box, other = [0, 0, 9, 9], [50, 50, 59, 59]
        >>> truth = [([box], [0], [False])] * 4
        >>> def records(boxes):
        ...     det = [([b], [s], [0]) for b, s in zip(boxes, (0.9, 0.8, 0.7, 0.6))]
        ...     return DetectionRecords.from_lists(['cat'], list('abcd'), det=det, gt=truth)
        >>> good, bad = records([box] * 4), records([box, other, other, other])
        >>> boot = bootstrap_map([[bad], [good]], resamples=200)
        >>> boot.map.shape, boot.point.round(3).tolist()
        ((2, 200), [0.273, 1.0])
        >>> low, high = boot.difference_interval(1, 0)
        >>> 0 < low <= 1 - 0.273 <= high
        True
        >>> boot.difference_interval(0, 0)
        (0.0, 0.0)
    """
    _check_models(models)
    if resamples < 1:
        raise ValueError(f'resamples is {resamples}, but has to be at least 1')
    curves = [[_Curves(match_voc(r), r, mode) for r in seeds] for seeds in models]
    num_images, num_classes = models[0][0].num_images, len(models[0][0].classes)

    rng = np.random.default_rng(seed)
    per_class = np.empty((len(models), resamples, num_classes))
    means = np.empty((len(models), resamples))
    size = min(c.chunk for seeds in curves for c in seeds)
    for start in range(0, resamples, size):
        part = slice(start, min(start + size, resamples))
        # One call a resample: the same numbers whatever the size of a chunk is.
        weights = np.empty((part.stop - start, num_images), np.int32)
        for row in weights:
            row[:] = np.bincount(rng.integers(0, num_images, num_images), minlength=num_images)
        columns = np.ascontiguousarray(weights.T)
        for m, seeds in enumerate(curves):
            values = [c.average_precisions(columns) for c in seeds]
            per_class[m, part] = np.mean(values, axis=0)
            means[m, part] = np.mean([_row_means(v) for v in values], axis=0)
        if progress is not None:
            progress(part.stop, resamples)

    points = [[class_average_precisions(c.matches, mode) for c in seeds] for seeds in curves]
    return BootstrapResult(
        map=means,
        per_class=per_class,
        point=np.array([np.mean(_row_means(np.stack(seeds))) for seeds in points]),
        point_per_class=np.array([np.mean(seeds, axis=0) for seeds in points]),
        num_images=num_images,
        resamples=resamples,
        seed=seed,
        mode=mode,
    )


def reweighted_average_precisions(
    records: DetectionRecords, weights: np.ndarray, mode: str = '11points'
) -> np.ndarray:
    """Average precisions of test sets that have each image a given number of times.

    Args:
        records (DetectionRecords): Detections and objects of N images.
        weights (np.ndarray): (B, N) int, how often each image is in each of B test sets.
        mode (str): ``11points`` or ``area``. Defaults to ``11points``.

    Returns:
        np.ndarray: (B, K) float64, NaN where a class has no object.

    Raises:
        ValueError: If there is no such mode.

    Example:
        >>> box, other = [0, 0, 9, 9], [50, 50, 59, 59]
        >>> records = DetectionRecords.from_lists(
        ...     ['cat'],
        ...     ['a', 'b'],
        ...     det=[([box], [0.9], [0]), ([other], [0.8], [0])],
        ...     gt=[([box], [0], [False]), ([box], [0], [False])],
        ... )
        >>> reweighted_average_precisions(records, [[1, 1], [3, 1], [0, 2]], 'area').tolist()
        [[0.5], [0.75], [0.0]]
    """
    curves = _Curves(match_voc(records), records, mode)
    weights = np.asarray(weights, np.int32).reshape(-1, records.num_images)
    result = np.empty((len(weights), len(records.classes)))
    for start in range(0, len(weights), curves.chunk):
        part = slice(start, start + curves.chunk)
        result[part] = curves.average_precisions(np.ascontiguousarray(weights[part].T))
    return result


class _Curves:
    """What does not change from resample to resample.

    Precision only matters at true positives. Between two of them only the number of false
    positives counts, which is a sum over images of (how often the image is drawn) x (its false
    positives there): a product of a sparse matrix, made once, with the draws.
    """

    def __init__(self, matches: Matches, records: DetectionRecords, mode: str) -> None:
        if mode not in BOOTSTRAP_MODES:
            raise ValueError(f'mode is {mode!r}, but has to be one of {BOOTSTRAP_MODES}')
        self.matches, self.mode = matches, mode
        counted = ~records.gt_ignored
        num_classes, num_images = len(records.classes), records.num_images
        cell = records.gt_images[counted].astype(np.int64) * num_classes
        cell += records.gt_labels[counted]
        cells = np.bincount(cell, minlength=num_classes * num_images)
        self.objects = csr_array(cells.reshape(num_images, num_classes).T.astype(np.int32))
        self.hit_images: list[np.ndarray] = []  # of each class (P,), image of each true positive
        self.steps: list[csr_array] = []  # of each class (P, N), detections since the last one
        for begin, end in zip(matches.starts[:-1], matches.starts[1:], strict=True):
            tp, images = matches.tp[begin:end], matches.images[begin:end]
            hits = np.flatnonzero(tp)
            used = np.flatnonzero(tp | matches.fp[begin:end])
            used = used[: np.searchsorted(used, hits[-1]) + 1] if len(hits) else used[:0]
            rows = np.searchsorted(hits, used)
            ones = np.ones(len(used), np.int32)
            self.steps.append(
                csr_array((ones, (rows, images[used])), shape=(len(hits), num_images))
            )
            self.hit_images.append(images[hits])
        longest = max([1, *map(len, self.hit_images)])
        self.chunk = int(np.clip(_CHUNK_NUMBERS // max(longest, num_images), 1, _CHUNK_MOST))

    def average_precisions(self, columns: np.ndarray) -> np.ndarray:
        """Of (N, b) int32 draws, C-contiguous: (b, K) average precisions."""
        num_gt = (self.objects @ columns).astype(np.int64)
        result = np.full((columns.shape[1], len(num_gt)), np.nan)
        for k, count in enumerate(num_gt):
            present = count > 0
            if len(self.hit_images[k]) == 0:
                result[present, k] = 0.0
                continue
            # Row after row in memory, so that sums and maxima run along it.
            found = np.ascontiguousarray(columns[self.hit_images[k]].T).cumsum(1, dtype=np.int64)
            total = np.ascontiguousarray((self.steps[k] @ columns).T).cumsum(1, dtype=np.int64)
            envelope = np.zeros((found.shape[0], found.shape[1] + 1))
            # 0 / 0 before the first image that is drawn: no detection, so no precision.
            np.divide(found, np.maximum(total, 1), out=envelope[:, :-1])
            np.maximum.accumulate(envelope[:, ::-1], axis=1, out=envelope[:, ::-1])
            values = self._average(found, envelope, np.maximum(count, 1))
            result[present, k] = values[present]
        return result

    def _average(self, found: np.ndarray, envelope: np.ndarray, count: np.ndarray) -> np.ndarray:
        """The means that :func:`average_precision` takes, of many curves at once."""
        if self.mode == 'area':
            recall = found / count[:, None]
            steps = np.diff(recall, prepend=0.0, axis=1)
            # Not drawn: a step of 0. Drawn: the envelope here is the best at this recall.
            return (steps * envelope[:, :-1]).sum(axis=1)
        at = RECALLS_11POINT['11points']
        # Least number of objects with number / count >= recall, by the division of the metric.
        need = np.maximum(np.floor(at * count[:, None]).astype(np.int64) - 1, 0)
        for _ in range(2):
            need += need / count[:, None] < at
        # One search in all rows: each row is lifted above all values of the row before.
        rows = np.arange(len(count))[:, None]
        lift = rows * (int(count.max()) + 2)
        place = np.searchsorted((found + lift).ravel(), need + lift) - rows * found.shape[1]
        return np.take_along_axis(envelope, place, axis=1).mean(axis=1)


def _row_means(values: np.ndarray) -> np.ndarray:
    """(B, K) to (B,): mean over the classes that are evaluated, NaN if there is none."""
    result = np.full(len(values), np.nan)
    known = ~np.isnan(values)
    # Rows with the same classes together: plain means, as of the metric itself.
    for pattern in np.unique(known, axis=0):
        if pattern.any():
            rows = (known == pattern).all(axis=1)
            result[rows] = np.ascontiguousarray(values[rows][:, pattern]).mean(axis=1)
    return result


def _percentile_interval(values: np.ndarray, level: float) -> tuple[float, float]:
    if not 0 < level < 1:
        raise ValueError(f'level is {level}, but has to be between 0 and 1, such as 0.95')
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return float('nan'), float('nan')
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def _check_models(models: Sequence[Sequence[DetectionRecords]]) -> None:
    if len(models) == 0 or any(len(seeds) == 0 for seeds in models):
        lengths = [len(seeds) for seeds in models]
        raise ValueError(f'each model needs the records of at least one seed, but got {lengths}')
    first = models[0][0]
    if first.num_images == 0:
        raise ValueError('the test set has no image: there is nothing to draw from')
    digest = first.ground_truth_digest()
    for m, seeds in enumerate(models):
        for s, records in enumerate(seeds):
            if records.ground_truth_digest() == digest:
                continue
            if records.classes != first.classes:
                what = f'classes {records.classes}, not {first.classes}'
            elif records.num_images != first.num_images:
                what = f'{records.num_images} images, not {first.num_images}'
            elif not np.array_equal(records.image_ids, first.image_ids):
                place = int(np.flatnonzero(records.image_ids != first.image_ids)[0])
                ids = records.image_ids[place], first.image_ids[place]
                what = f'image {str(ids[0])!r} at place {place}, not {str(ids[1])!r}'
            else:
                what = 'other objects in the same images'
            raise ValueError(
                f'records of model {m}, seed {s} have {what}, as model 0, seed 0 has: models can '
                'only be compared on the same test set; test them again with the same data'
            )
