# SPDX-License-Identifier: Apache-2.0
"""Overlaps of detections with all objects of their image, whatever their classes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mmdet_mobilenext.evaluation.joining import join_groups
from mmdet_mobilenext.evaluation.matching import coco_iou, legacy_iou
from mmdet_mobilenext.evaluation.records import DetectionRecords

__all__ = ['ImagePairs', 'image_pairs']


class ImagePairs(NamedTuple):
    """P pairs of a detection and an object of the same image.

    Attributes:
        det (np.ndarray): (P,) int64, positions in the detections asked for, ascending.
        gt (np.ndarray): (P,) int64, indices into the ``gt_*`` arrays, ascending for a detection.
        iou (np.ndarray): (P,) float, their IoU.
    """

    det: np.ndarray
    gt: np.ndarray
    iou: np.ndarray


def image_pairs(
    records: DetectionRecords, detections: np.ndarray, whole_pixels: bool = True
) -> ImagePairs:
    """Pair detections with every object of their image.

    Args:
        records (DetectionRecords): Detections and objects.
        detections (np.ndarray): (n,) int, indices into the ``det_*`` arrays.
        whole_pixels (bool): Whether a box is ``x2 - x1 + 1`` wide, as VOC has it, or ``x2 - x1``,
            as COCO has it. Defaults to True.

    Returns:
        ImagePairs: The pairs; a detection in an image without objects has none.

    Example:
        >>> records = DetectionRecords.from_lists(
        ...     ['cat', 'dog'],
        ...     ['a'],
        ...     det=[([[0, 0, 9, 9]], [0.5], [0])],
        ...     gt=[([[0, 0, 9, 9], [0, 0, 9, 4]], [0, 1], [False, False])],
        ... )
        >>> pairs = image_pairs(records, [0])
        >>> pairs.gt.tolist(), pairs.iou.tolist()
        ([0, 1], [1.0, 0.5])
    """
    detections = np.asarray(detections, np.int64).reshape(-1)
    per_image = np.bincount(records.gt_images, minlength=records.num_images)
    det, gt = join_groups(records.det_images[detections], per_image)
    overlap = legacy_iou if whole_pixels else coco_iou
    return ImagePairs(det, gt, overlap(records.det_boxes[detections[det]], records.gt_boxes[gt]))
