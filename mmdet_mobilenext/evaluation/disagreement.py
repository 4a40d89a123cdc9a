# SPDX-License-Identifier: Apache-2.0
"""Images on which two detectors differ most."""

from __future__ import annotations

import numpy as np

from mmdet_mobilenext.evaluation.matching import Matches, match_voc
from mmdet_mobilenext.evaluation.records import DetectionRecords

__all__ = ['image_f1', 'most_different_images', 'score_threshold']

NOTHING_RIGHT = 0.5
"""Threshold of a detector that has no detection right: any other one is as good."""


def score_threshold(records: DetectionRecords) -> float:
    """Score from which on detections are best shown: that of the best F1 on the whole test set.

    F1 is 2 TP / (2 TP + FP + FN) with true and false positives of all classes together, matched
    by the rules of VOC at IoU 0.5 (van Rijsbergen, Information Retrieval, 1979, chapter 7). A
    test set that chooses a threshold flatters it a little: it is for showing, no figure of merit.

    Args:
        records (DetectionRecords): Detections and objects.

    Returns:
        float: Lowest score to keep; of equal F1 the highest. 0.5 if no detection is right.

    Example:
        >>> box, other = [0, 0, 9, 9], [50, 50, 59, 59]
        >>> records = DetectionRecords.from_lists(
        ...     ['cat'],
        ...     ['a', 'b'],
        ...     det=[([box, other], [0.75, 0.25], [0, 0]), ([box], [0.5], [0])],
        ...     gt=[([box], [0], [False])] * 2,
        ... )
        >>> score_threshold(records)
        0.5
    """
    matches = match_voc(records)
    order = np.argsort(-matches.scores, kind='stable')
    scores = matches.scores[order]
    tp, fp = np.cumsum(matches.tp[order]), np.cumsum(matches.fp[order])
    if len(tp) == 0 or tp[-1] == 0:
        return NOTHING_RIGHT
    f1 = 2 * tp / (tp + fp + matches.num_gt.sum()).clip(1)
    # A threshold keeps all detections of its score: only the last of equal ones is a choice.
    ends = np.append(scores[1:] != scores[:-1], True)
    return float(scores[np.argmax(np.where(ends, f1, -1.0))])


def image_f1(records: DetectionRecords, score_thr: float | None = None) -> np.ndarray:
    """F1 of each image, all classes together, by the rules of VOC at IoU 0.5.

    Args:
        records (DetectionRecords): Detections and objects of N images.
        score_thr (float, optional): Lowest score of a detection that counts. Defaults to None,
            that of :func:`score_threshold`.

    Returns:
        np.ndarray: (N,) float64. 1 for an image with nothing to find and nothing found.

    Example:
        >>> box = [0, 0, 9, 9]
        >>> records = DetectionRecords.from_lists(
        ...     ['cat'],
        ...     ['a', 'b'],
        ...     det=[([box, box], [0.9, 0.8], [0, 0]), ([], [], [])],
        ...     gt=[([box], [0], [False]), ([], [], [])],
        ... )
        >>> image_f1(records, score_thr=0.5).round(3).tolist()  # the second box is a duplicate
        [0.667, 1.0]
    """
    matches = match_voc(records)
    score_thr = score_threshold(records) if score_thr is None else score_thr
    return _image_f1(matches, records, score_thr)


def _image_f1(matches: Matches, records: DetectionRecords, score_thr: float) -> np.ndarray:
    # In float32, as the scores are: the threshold itself is one of them.
    kept = matches.scores >= np.float32(score_thr)

    def count(images: np.ndarray) -> np.ndarray:
        return np.bincount(images, minlength=records.num_images)

    tp, fp = (count(matches.images[kept & flag]) for flag in (matches.tp, matches.fp))
    objects = count(records.gt_images[~records.gt_ignored])
    total = tp + fp + objects
    return np.where(total == 0, 1.0, 2 * tp / np.maximum(total, 1))


def most_different_images(
    a: DetectionRecords, b: DetectionRecords, count: int = 12
) -> list[dict[str, int | float]]:
    """Images with the largest difference of F1, each detector at its own best threshold.

    Args:
        a (DetectionRecords): Detections of the first detector.
        b (DetectionRecords): Detections of the second one, on the same test set.
        count (int): Most images to give. Defaults to 12.

    Returns:
        list[dict]: ``image`` (int, its index), ``f1_a`` and ``f1_b`` (float), the largest
        difference first; of equal ones the image with more objects, then the earlier one. Images
        on which both have the same F1 are left out.

    Raises:
        ValueError: If the test sets differ.

    Example:
        >>> box, other = [0, 0, 9, 9], [50, 50, 59, 59]
        >>> def records(boxes):
        ...     det = [([b], [0.9], [0]) for b in boxes]
        ...     return DetectionRecords.from_lists(
        ...         ['cat'], ['x', 'y'], det=det, gt=[([box], [0], [False])] * 2
        ...     )
        >>> most_different_images(records([box, box]), records([box, other]))
        [{'image': 1, 'f1_a': 1.0, 'f1_b': 0.0}]
    """
    if a.ground_truth_digest() != b.ground_truth_digest():
        raise ValueError(
            f'the detectors were tested on different data ({a.num_images} images with digest '
            f'{a.ground_truth_digest()}, {b.num_images} with {b.ground_truth_digest()}): test them '
            'again with the same data'
        )
    f1_a, f1_b = image_f1(a), image_f1(b)
    gap = np.abs(f1_a - f1_b)
    objects = np.bincount(a.gt_images[~a.gt_ignored], minlength=a.num_images)
    order = np.lexsort((np.arange(a.num_images), -objects, -gap))
    return [
        {'image': int(i), 'f1_a': float(f1_a[i]), 'f1_b': float(f1_b[i])}
        for i in order[: max(count, 0)]
        if gap[i] > 0
    ]
