# SPDX-License-Identifier: Apache-2.0
"""Non-maximum suppression outside of the network, for files that were exported without."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ['best_boxes']


def best_boxes(
    boxes: np.ndarray, scores: np.ndarray, score_thr: float, iou_thr: float, max_per_img: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Class-wise NMS of one image, by OpenCV.

    Args:
        boxes (np.ndarray): Of each prior, (P, 4) float32, xyxy.
        scores (np.ndarray): (P, C) float32, without background.
        score_thr (float): Candidates have a larger score.
        iou_thr (float): A candidate with a larger IoU with a better one of its class is dropped.
        max_per_img (int): Most that are kept.

    Returns:
        tuple: Boxes (n, 4) float32, scores (n,) float32 and labels (n,) int64, best first.

    Example:
        >>> boxes = np.array([[0, 0, 9, 9], [0, 0, 9, 8], [0, 0, 9, 9]], 'float32')
        >>> best_boxes(boxes, np.array([[.5, 0], [.9, 0], [0, .7]], 'float32'), .1, .5, 100)[2]
        array([0, 1])
    """
    priors, labels = np.nonzero(scores > score_thr)
    found = scores[priors, labels]
    kept = np.zeros(0, np.int64)
    # the best candidates settle which of them stay: as many as are needed are looked at
    most = max(4 * max_per_img, 256)
    order = np.argsort(-found, kind='stable')
    while len(order):
        part = order[:most]
        xywh = boxes[priors[part]].astype(np.float64)
        xywh[:, 2:] -= xywh[:, :2]
        indices = cv2.dnn.NMSBoxesBatched(
            xywh, found[part], labels[part].astype(np.int32), 0.0, iou_thr
        )
        kept = part[np.asarray(indices, np.int64).reshape(-1)][:max_per_img]
        if len(kept) >= max_per_img or most >= len(order):
            break
        most *= 4
    return boxes[priors[kept]], found[kept], labels[kept].astype(np.int64)
