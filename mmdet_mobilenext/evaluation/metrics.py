# SPDX-License-Identifier: Apache-2.0
"""All accuracy figures of one detector, from one pass over its detections."""

from __future__ import annotations

import numpy as np

from mmdet_mobilenext.evaluation.average_precision import (
    class_average_precisions,
    interpolated_precision,
    mean_over_classes,
    precision_recall,
)
from mmdet_mobilenext.evaluation.joining import join_detections
from mmdet_mobilenext.evaluation.matching import COCO_IOU_THRS, match_coco, match_voc
from mmdet_mobilenext.evaluation.records import DetectionRecords

__all__ = ['METRICS', 'evaluate', 'pr_curves']

METRICS: tuple[str, ...] = ('voc_11point', 'voc_area', 'coco', 'coco_50', 'coco_75')
"""Names of the means that :func:`evaluate` gives, the headline first."""


def evaluate(records: DetectionRecords) -> dict:
    """Compute VOC and COCO average precisions, mean and per class.

    ``voc_11point`` and ``voc_area`` are at IoU 0.5 by the rules of the VOC development kit;
    ``coco`` is the mean over IoU 0.5, 0.55, ... 0.95 by the rules of COCO, ``coco_50`` and
    ``coco_75`` are its parts at these IoUs. Difficult objects, and detections of them, do not
    count. A class without other objects is not evaluated and is in no mean.

    Args:
        records (DetectionRecords): Detections and objects of a test set.

    Returns:
        dict: The five means, each a float in 0..1, or None if no class has objects; and
        ``per_class``, for each class name a dictionary of ``objects`` (without difficult ones),
        ``difficult`` and ``detections``, all int, and ``voc_11point``, ``voc_area`` and ``coco``,
        float or None.

    Raises:
        ValueError: If labels are outside of the classes, or scores or boxes are not finite.

    Example:
        >>> records = DetectionRecords.from_lists(
        ...     ['cat', 'dog'],
        ...     ['a'],
        ...     det=[([[0, 0, 10, 10], [20, 0, 30, 8]], [0.9, 0.8], [0, 0])],
        ...     gt=[([[0, 0, 10, 10], [20, 0, 30, 10]], [0, 0], [False, False])],
        ... )
        >>> result = evaluate(records)  # the second box has IoU 0.8
        >>> result['voc_11point'], result['coco_75'], round(result['coco'], 3)
        (1.0, 1.0, 0.851)
        >>> result['per_class']['dog']['voc_11point'] is None  # there is no dog
        True
    """
    join = join_detections(records)
    voc, coco = match_voc(records, join=join), match_coco(records, join=join)
    values = {
        'voc_11point': class_average_precisions(voc, '11points'),
        'voc_area': class_average_precisions(voc, 'area'),
    }
    by_threshold = class_average_precisions(coco, 'coco')
    values['coco'] = by_threshold.mean(axis=0)
    for name, iou_thr in (('coco_50', 0.5), ('coco_75', 0.75)):
        values[name] = by_threshold[np.argmin(np.abs(np.asarray(COCO_IOU_THRS) - iou_thr))]

    difficult = np.bincount(
        records.gt_labels[records.gt_ignored], minlength=len(records.classes)
    ).tolist()
    per_class = {}
    for k, name in enumerate(records.classes):
        per_class[name] = {
            'objects': int(voc.num_gt[k]),
            'difficult': difficult[k],
            'detections': int(voc.starts[k + 1] - voc.starts[k]),
        }
        for metric in ('voc_11point', 'voc_area', 'coco'):
            value = float(values[metric][k])
            per_class[name][metric] = None if np.isnan(value) else value
    means = {metric: mean_over_classes(values[metric]) for metric in METRICS}
    return {**means, 'per_class': per_class}


def pr_curves(records: DetectionRecords) -> dict[str, dict[str, list[float]] | None]:
    """Precision over recall of each class, at IoU 0.5 by the rules of VOC.

    Args:
        records (DetectionRecords): Detections and objects of a test set.

    Returns:
        dict: For each class name ``recall``, 0, 0.01, ... 1, and ``precision``, the best precision
        at that recall or beyond (0 if it is not reached); None for a class without objects.

    Raises:
        ValueError: If labels are outside of the classes, or scores or boxes are not finite.

    Example:
        >>> records = DetectionRecords.from_lists(
        ...     ['cat'],
        ...     ['a'],
        ...     det=[([[0, 0, 9, 9]], [0.5], [0])],
        ...     gt=[([[0, 0, 9, 9], [50, 50, 59, 59]], [0, 0], [False, False])],
        ... )
        >>> curve = pr_curves(records)['cat']
        >>> curve['recall'][50:52], curve['precision'][50:52]
        ([0.5, 0.51], [1.0, 0.0])
    """
    matches = match_voc(records)
    # Not linspace: these are to be shown, and 0.29 is nicer than 0.29000000000000004.
    at = np.arange(101) / 100
    curves: dict[str, dict[str, list[float]] | None] = {}
    for k, name in enumerate(records.classes):
        part = slice(matches.starts[k], matches.starts[k + 1])
        curve = precision_recall(matches.tp[part], matches.fp[part], matches.num_gt[k])
        curves[name] = None
        if curve is not None:
            precision = interpolated_precision(*curve, at)
            curves[name] = {'recall': at.tolist(), 'precision': precision.tolist()}
    return curves
