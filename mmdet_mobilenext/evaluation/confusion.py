# SPDX-License-Identifier: Apache-2.0
"""Which classes a detector takes for which."""

from __future__ import annotations

import numpy as np

from mmdet_mobilenext.evaluation.joining import check_labels
from mmdet_mobilenext.evaluation.pairs import image_pairs
from mmdet_mobilenext.evaluation.records import DetectionRecords

__all__ = ['confusion_matrix']


def confusion_matrix(
    records: DetectionRecords, score_thr: float = 0.3, iou_thr: float = 0.5
) -> np.ndarray:
    """Count detections by the class they have and the class of the object they are on.

    Layout and thresholds are those of mmdet's ``tools/analysis_tools/confusion_matrix.py``: a row
    for each class of objects and one for background, a column for each class of detections and
    one for missed objects; as there, a wrong detection of an object does not take a right one's
    place. Unlike there, a detection is counted once and so is an object, so that rows add up to
    the objects and columns to the detections:

    1. By descending score, each detection takes the free object of its own class that it overlaps
       most, from ``iou_thr`` on (the diagonal).
    2. By descending score, each detection that is left takes the free object of another class
       that it overlaps most, from ``iou_thr`` on.
    3. What is left of detections is background (duplicates too), unless it overlaps a difficult
       object of any class by ``iou_thr``; what is left of objects is missed. Difficult objects are
       neither found nor missed.

    Overlaps are by whole pixels, as VOC has them.

    Args:
        records (DetectionRecords): Detections and objects, K classes.
        score_thr (float): Lowest score of a detection that counts. Defaults to 0.3.
        iou_thr (float): Lowest IoU of a detection and its object. Defaults to 0.5.

    Returns:
        np.ndarray: (K + 1, K + 1) int64. Rows are objects, the last one is none (background);
        columns are detections, the last one is none (missed).

    Raises:
        ValueError: If labels are outside of the classes.

    Example:
        >>> records = DetectionRecords.from_lists(
        ...     ['cat', 'dog'],
        ...     ['a'],
        ...     det=[([[0, 0, 9, 9], [20, 0, 29, 9], [80, 0, 89, 9]], [0.9, 0.8, 0.7], [0, 0, 1])],
        ...     gt=[([[0, 0, 9, 9], [20, 0, 29, 9], [50, 0, 59, 9]], [0, 1, 1], [False] * 3)],
        ... )
        >>> confusion_matrix(records).tolist()  # a cat; a dog taken for one; a dog missed
        [[1, 0, 0], [1, 0, 1], [0, 1, 0]]
    """
    count = len(records.classes)
    check_labels(records)
    chosen = np.flatnonzero(records.det_scores >= score_thr)
    chosen = chosen[np.argsort(-records.det_scores[chosen], kind='stable')]
    labels = records.det_labels[chosen]
    pairs = image_pairs(records, chosen)
    near = pairs.iou >= iou_thr
    det, gt, iou = pairs.det[near], pairs.gt[near], pairs.iou[near]

    difficult = records.gt_ignored[gt]
    on_difficult = np.zeros(len(chosen), bool)
    on_difficult[det[difficult]] = True
    det, gt, iou = det[~difficult], gt[~difficult], iou[~difficult]

    partner = np.full(len(chosen), -1)
    free = ~records.gt_ignored
    same = labels[det] == records.gt_labels[gt]
    # Own class first, then in order of score, then in order of overlap.
    for pair in np.lexsort((gt, -iou, det, ~same)):
        if partner[det[pair]] < 0 and free[gt[pair]]:
            partner[det[pair]] = gt[pair]
            free[gt[pair]] = False

    matrix = np.zeros((count + 1, count + 1), np.int64)
    found = partner >= 0
    np.add.at(matrix, (records.gt_labels[partner[found]], labels[found]), 1)
    np.add.at(matrix, (count, labels[~found & ~on_difficult]), 1)
    np.add.at(matrix, (records.gt_labels[free], count), 1)
    return matrix
