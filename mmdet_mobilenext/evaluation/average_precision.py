# SPDX-License-Identifier: Apache-2.0
"""Precision, recall and the three average precisions made of them.

Precision only falls between true positives, so everything is computed at the true positives alone:
a few thousand numbers instead of half a million detections.
"""

from __future__ import annotations

import numpy as np

from mmdet_mobilenext.evaluation.matching import Matches

__all__ = [
    'MODES',
    'average_precision',
    'class_average_precisions',
    'interpolated_precision',
    'mean_over_classes',
    'precision_recall',
]

# As in mmdet and most other code: 0.1 * 3 is a little more than 0.3, so a recall of 3/10 does not
# reach the fourth of the 11 points (nor 6/10 and 7/10 theirs).
RECALLS_11POINT = {
    '11points': np.arange(0, 1 + 1e-3, 0.1),
    'coco': np.linspace(0, 1, 101),
}

MODES = ('11points', 'area', 'coco')
"""Kinds of average precision."""


def precision_recall(
    tp: np.ndarray, fp: np.ndarray, num_gt: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Recall and precision at each true positive of one class.

    Args:
        tp (np.ndarray): (D,) bool, true positives by descending score.
        fp (np.ndarray): (D,) bool, false positives; detections that are neither do not count.
        num_gt (int): Objects of the class that are not ignored.

    Returns:
        tuple[np.ndarray, np.ndarray] | None: Recall and precision, (n,) float64 for n true
        positives, recall ascending. None if there is no object.

    Example:
        >>> recall, precision = precision_recall([True, False, True], [False, True, False], 4)
        >>> recall.tolist(), precision.round(2).tolist()
        ([0.25, 0.5], [1.0, 0.67])
    """
    if num_gt == 0:
        return None
    tp, fp = np.asarray(tp, bool), np.asarray(fp, bool)
    hits = np.flatnonzero(tp)
    found = np.arange(1, len(hits) + 1)
    # Few detections do not count: quicker than a running sum over all that do.
    skipped = np.searchsorted(np.flatnonzero(~(tp | fp)), hits)
    return found / num_gt, found / (hits + 1 - skipped)


def interpolated_precision(recall: np.ndarray, precision: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Best precision at given recalls or beyond.

    Args:
        recall (np.ndarray): (n,) recall, ascending.
        precision (np.ndarray): (n,) precision.
        at (np.ndarray): (R,) recalls to look at, in 0..1.

    Returns:
        np.ndarray: (R,) float64, 0 where the recall is not reached.

    Example:
        >>> interpolated_precision([0.25, 0.5], [0.5, 0.6], [0.0, 0.5, 0.75]).tolist()
        [0.6, 0.6, 0.0]
    """
    envelope = np.maximum.accumulate(np.asarray(precision, np.float64)[::-1])[::-1]
    return np.append(envelope, 0.0)[np.searchsorted(recall, at, side='left')]


def _average(recall: np.ndarray, precision: np.ndarray, mode: str) -> float:
    if mode in RECALLS_11POINT:
        return float(interpolated_precision(recall, precision, RECALLS_11POINT[mode]).mean())
    if mode == 'area':
        steps = np.diff(recall, prepend=0.0)
        return float((steps * interpolated_precision(recall, precision, recall)).sum())
    raise ValueError(f'mode is {mode!r}, but has to be one of {MODES}')


def average_precision(
    tp: np.ndarray, fp: np.ndarray, num_gt: int, mode: str = '11points'
) -> float | None:
    """Average precision of one class.

    ``11points`` is the mean of the interpolated precision at the recalls 0, 0.1, ... 1 (VOC2007,
    Everingham et al., IJCV 2010, section 4.2), ``area`` the area under the interpolated curve
    (VOC2010 and later), ``coco`` the mean at 101 recalls (``COCOeval.accumulate``).

    Args:
        tp (np.ndarray): (D,) bool, true positives by descending score.
        fp (np.ndarray): (D,) bool, false positives; detections that are neither do not count.
        num_gt (int): Objects of the class that are not ignored.
        mode (str): ``11points``, ``area`` or ``coco``. Defaults to ``11points``.

    Returns:
        float | None: In 0..1. None, that is not evaluated, if there is no object.

    Raises:
        ValueError: If there is no such mode.

    Example:
        >>> average_precision([True, False], [False, True], num_gt=2, mode='area')
        0.5
        >>> round(average_precision([True, False], [False, True], num_gt=2), 4)  # 6 of 11 points
        0.5455
        >>> average_precision([False], [True], num_gt=0) is None
        True
    """
    if mode not in MODES:
        raise ValueError(f'mode is {mode!r}, but has to be one of {MODES}')
    curve = precision_recall(tp, fp, num_gt)
    return None if curve is None else _average(*curve, mode)


def class_average_precisions(matches: Matches, mode: str = '11points') -> np.ndarray:
    """Average precision of each class.

    Args:
        matches (Matches): Of :func:`~mmdet_mobilenext.evaluation.matching.match_voc` or
            :func:`~mmdet_mobilenext.evaluation.matching.match_coco`.
        mode (str): As in :func:`average_precision`. Defaults to ``11points``.

    Returns:
        np.ndarray: (K,) float64, or (T, K) if the matches have T thresholds. NaN marks a class
        without objects; see :func:`mean_over_classes`.

    Raises:
        ValueError: If there is no such mode.

    Example:
        >>> from mmdet_mobilenext.evaluation.matching import match_voc
        >>> from mmdet_mobilenext.evaluation.records import DetectionRecords
        >>> records = DetectionRecords.from_lists(
        ...     ['cat', 'dog'],
        ...     ['a'],
        ...     det=[([[0, 0, 9, 9]], [0.5], [0])],
        ...     gt=[([[0, 0, 9, 9]], [0], [False])],
        ... )
        >>> class_average_precisions(match_voc(records), 'area').tolist()
        [1.0, nan]
    """
    if mode not in MODES:
        raise ValueError(f'mode is {mode!r}, but has to be one of {MODES}')
    result = np.full((*matches.tp.shape[:-1], len(matches.num_gt)), np.nan)
    each = (np.atleast_2d(result), np.atleast_2d(matches.tp), np.atleast_2d(matches.fp))
    for row, tp, fp in zip(*each, strict=True):
        for k, num_gt in enumerate(matches.num_gt):
            part = slice(matches.starts[k], matches.starts[k + 1])
            curve = precision_recall(tp[part], fp[part], num_gt)
            if curve is not None:
                row[k] = _average(*curve, mode)
    return result


def mean_over_classes(values: np.ndarray) -> float | None:
    """Mean over the classes that have objects (and over thresholds, if there are several).

    Args:
        values (np.ndarray): (K,) or (T, K), NaN for classes without objects.

    Returns:
        float | None: The mean, None if no class has objects.

    Example:
        >>> mean_over_classes([0.5, float('nan'), 1.0])
        0.75
        >>> mean_over_classes([float('nan')]) is None
        True
    """
    values = np.asarray(values, np.float64)
    evaluated = values[~np.isnan(values)]
    return float(evaluated.mean()) if len(evaluated) else None
