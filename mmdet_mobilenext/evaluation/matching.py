# SPDX-License-Identifier: Apache-2.0
"""Which detection found which object: the rules of Pascal VOC and of COCO.

Sources: the VOC2007 development kit, ``VOCevaldet.m``
(http://host.robots.ox.ac.uk/pascal/VOC/voc2007/); Everingham et al., The Pascal Visual Object
Classes (VOC) Challenge, IJCV 88, 2010; ``COCOeval`` (https://cocodataset.org/#detection-eval,
https://github.com/ppwwyyxx/cocoapi).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmdet_mobilenext.evaluation.joining import (
    Join,
    join_detections,
    rank_in_groups,
    segment_starts,
)
from mmdet_mobilenext.evaluation.records import DetectionRecords

__all__ = ['COCO_IOU_THRS', 'Matches', 'match_coco', 'match_voc']

COCO_IOU_THRS: tuple[float, ...] = tuple(np.linspace(0.5, 0.95, 10).tolist())
"""The ten IoU thresholds of COCO, 0.5 to 0.95."""


@dataclass(frozen=True)
class Matches:
    """Result of matching D detections with the objects of K classes.

    Detections are sorted by class, then by descending score; equal scores keep the order of the
    records: by image, then as the detector gave them.

    Attributes:
        order (np.ndarray): (D,) int64, indices into the ``det_*`` arrays of the records.
        labels (np.ndarray): (D,) int32, class, ascending.
        scores (np.ndarray): (D,) float32, descending within a class.
        images (np.ndarray): (D,) int32, index of the image.
        tp (np.ndarray): (D,) bool, true positives; (T, D) for T thresholds.
        fp (np.ndarray): Same shape, false positives. Detections that are neither do not count:
            they found an ignored object, or are beyond ``max_dets``.
        gt_index (np.ndarray): Same shape, int32, the object found by a true positive or by an
            ignored detection, an index into the ``gt_*`` arrays; else -1.
        num_gt (np.ndarray): (K,) int64, objects of each class that are not ignored.
        starts (np.ndarray): (K + 1,) int64, class k has detections ``starts[k]:starts[k + 1]``.
    """

    order: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    images: np.ndarray
    tp: np.ndarray
    fp: np.ndarray
    gt_index: np.ndarray
    num_gt: np.ndarray
    starts: np.ndarray


def legacy_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU of pairs of boxes of whole pixels, float32 in the order of mmdet's ``bbox_overlaps``."""
    boxes, others = boxes.astype(np.float32), others.astype(np.float32)
    area = (boxes[:, 2] - boxes[:, 0] + 1.0) * (boxes[:, 3] - boxes[:, 1] + 1.0)
    other = (others[:, 2] - others[:, 0] + 1.0) * (others[:, 3] - others[:, 1] + 1.0)
    start = np.maximum(boxes[:, :2], others[:, :2])
    end = np.minimum(boxes[:, 2:], others[:, 2:])
    side = np.maximum(end - start + 1.0, 0)
    overlap = side[:, 0] * side[:, 1]
    return overlap / np.maximum(area + other - overlap, 1e-6)


def coco_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU of pairs of boxes as ``bbIou`` of pycocotools has it, float64; 0 without an overlap."""
    boxes, others = boxes.astype(np.float64), others.astype(np.float64)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    other = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    side = np.minimum(boxes[:, 2:], others[:, 2:]) - np.maximum(boxes[:, :2], others[:, :2])
    hit = (side > 0).all(axis=1)
    overlap = side[:, 0] * side[:, 1]
    return np.divide(overlap, area + other - overlap, out=np.zeros(len(boxes)), where=hit)


def _matches(join: Join, tp: np.ndarray, fp: np.ndarray, gt_index: np.ndarray) -> Matches:
    return Matches(
        order=join.order,
        labels=join.labels,
        scores=join.scores,
        images=join.images,
        tp=tp,
        fp=fp,
        gt_index=gt_index,
        num_gt=join.num_gt,
        starts=join.starts,
    )


def match_voc(records: DetectionRecords, iou_thr: float = 0.5, join: Join | None = None) -> Matches:
    """Match by the rules of the VOC development kit.

    A detection belongs to the object of its image and class that it overlaps most, difficult ones
    included (of equal overlaps: the first counted object). From IoU ``iou_thr`` on, the best
    scored detection of an object is a true positive and all others are false positives;
    detections of a difficult object do not count, however many. Boxes are of whole pixels: width
    is ``x2 - x1 + 1``. Results equal those of mmdet's ``VOCMetric``, except that equal scores have
    a defined order.

    Args:
        records (DetectionRecords): Detections and objects.
        iou_thr (float): Lowest IoU of a match. Defaults to 0.5.
        join (Join, optional): That of these records, if it is there already. Defaults to None.

    Returns:
        Matches: With ``tp``, ``fp`` and ``gt_index`` of shape (D,).

    Raises:
        ValueError: If labels are outside of the classes, or scores or boxes are not finite.

    Example:
        >>> two = [[0, 0, 9, 9], [0, 0, 9, 8]]
        >>> records = DetectionRecords.from_lists(
        ...     ['cat'], ['a'], det=[(two, [0.8, 0.9], [0, 0])], gt=[([[0, 0, 9, 9]], [0], [False])]
        ... )
        >>> matches = match_voc(records)  # the second detection is surer, so it has the object
        >>> matches.order.tolist(), matches.tp.tolist(), matches.fp.tolist()
        ([1, 0], [True, False], [False, True])
    """
    join = join_detections(records) if join is None else join
    iou = legacy_iou(records.det_boxes[join.order[join.pair_det]], records.gt_boxes[join.pair_gt])
    begin = segment_starts(join.pair_det)
    if len(begin):
        best = np.maximum.reduceat(iou, begin)
        length = np.diff(begin, append=len(iou))
        # Only now drop what is below the threshold: argmax is over all objects of the image.
        top = np.flatnonzero((iou == np.repeat(best, length)) & (iou >= float(iou_thr)))
        top = top[segment_starts(join.pair_det[top])]
    else:
        top = begin
    det, gt = join.pair_det[top], join.pair_gt[top]

    ignored = records.gt_ignored[gt]
    counted_det, counted_gt = det[~ignored], gt[~ignored]
    # Detections are in order of score, so the first of an object is its best.
    _, first = np.unique(counted_gt, return_index=True)
    tp = np.zeros(len(join.order), bool)
    tp[counted_det[first]] = True
    fp = ~tp
    fp[det[ignored]] = False
    found = np.full(len(join.order), -1, np.int32)
    found[det] = gt
    found[fp] = -1
    return _matches(join, tp, fp, found)


def match_coco(
    records: DetectionRecords,
    iou_thrs: Sequence[float] = COCO_IOU_THRS,
    max_dets: int = 100,
    join: Join | None = None,
) -> Matches:
    """Match by the rules of ``COCOeval``, at several thresholds at once.

    In each image and class, detections in order of score take the object that they overlap most of
    those that are still free and overlap enough (of equal overlaps: the last); an ignored object
    only if there is no other. Widths are ``x2 - x1``. Unlike COCO's crowds, ignored objects are
    measured by the ordinary IoU; like them, they take any number of detections, which then do not
    count.

    Args:
        records (DetectionRecords): Detections and objects.
        iou_thrs (Sequence[float]): (T,) lowest IoUs of a match. Defaults to 0.5, 0.55, ... 0.95.
        max_dets (int): Best scored detections of an image and class that count. Defaults to 100.
        join (Join, optional): That of these records, if it is there already. Defaults to None.

    Returns:
        Matches: With ``tp``, ``fp`` and ``gt_index`` of shape (T, D).

    Raises:
        ValueError: If labels are outside of the classes, or scores or boxes are not finite.

    Example:
        >>> two = [[0, 0, 10, 10], [0, 0, 10, 8]]
        >>> records = DetectionRecords.from_lists(
        ...     ['cat'],
        ...     ['a'],
        ...     det=[(two, [0.8, 0.9], [0, 0])],
        ...     gt=[([[0, 0, 10, 10]], [0], [False])],
        ... )
        >>> match_coco(records, iou_thrs=[0.5, 0.9]).tp.tolist()  # the surer one has IoU 0.8
        [[True, False], [False, True]]
    """
    join = join_detections(records) if join is None else join
    thrs = np.minimum(np.asarray(iou_thrs, np.float64).reshape(-1), 1 - 1e-10)
    if len(thrs) == 0:
        raise ValueError('iou_thrs is empty: give at least one IoU threshold')
    # Seldom does any image have more detections of a class than count: no rank is needed then.
    allowed = np.ones(len(join.order), bool)
    if len(join.keys) and np.bincount(join.keys).max() > max_dets:
        allowed = rank_in_groups(join.keys) < max_dets

    # A box with an IoU below the lowest threshold is never matched: few pairs remain.
    iou = coco_iou(records.det_boxes[join.order[join.pair_det]], records.gt_boxes[join.pair_gt])
    near = (iou >= thrs.min()) & allowed[join.pair_det]
    det, gt, iou = join.pair_det[near], join.pair_gt[near], iou[near]
    # Round r decides the r-th detections of all images and classes at once, which share no object.
    # Within a detection pairs are in order of preference, so that the first possible is chosen.
    first = segment_starts(det)
    rank = np.repeat(rank_in_groups(join.keys[det[first]]), np.diff(first, append=len(det)))
    prefer = np.lexsort((-gt, -iou, records.gt_ignored[gt], det, rank))
    det, gt, iou, rank = det[prefer], gt[prefer], iou[prefer], rank[prefer]
    enough = iou >= thrs[:, None]
    takes = ~records.gt_ignored[gt]
    taken = np.zeros((len(thrs), len(records.gt_labels)), bool)
    rounds = segment_starts(rank)
    tp = np.zeros((len(thrs), len(join.order)), bool)
    fp = np.repeat(allowed[None], len(thrs), axis=0)
    found = np.full(tp.shape, -1, np.int32)
    for start, count in zip(rounds, np.diff(rounds, append=len(det)), strict=True):
        part = slice(start, start + count)
        free = enough[:, part] & ~taken[:, gt[part]]
        begin = segment_starts(det[part])
        place = np.where(free, np.arange(count), count)
        place = np.minimum.reduceat(place, begin, axis=1)
        thr, which = np.nonzero(place < count)
        pair = start + place[thr, which]
        found[thr, det[pair]] = gt[pair]
        fp[thr, det[pair]] = False
        tp[thr, det[pair]] = takes[pair]
        taken[thr[takes[pair]], gt[pair[takes[pair]]]] = True
    return _matches(join, tp, fp, found)
