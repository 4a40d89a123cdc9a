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


@dataclass(frozen=True)
class _Join:
    """Sorted detections, and all P pairs of a detection and an object of its image and class."""

    order: np.ndarray  # (D,)
    labels: np.ndarray  # (D,)
    keys: np.ndarray  # (D,) image and class in one number
    pair_det: np.ndarray  # (P,) position in `order`, ascending
    pair_gt: np.ndarray  # (P,) index of the object; counted ones before ignored ones
    num_gt: np.ndarray  # (K,)
    starts: np.ndarray  # (K + 1,)

    def matches(
        self, records: DetectionRecords, tp: np.ndarray, fp: np.ndarray, gt: np.ndarray
    ) -> Matches:
        return Matches(
            order=self.order,
            labels=self.labels,
            scores=records.det_scores[self.order],
            images=records.det_images[self.order],
            tp=tp,
            fp=fp,
            gt_index=gt,
            num_gt=self.num_gt,
            starts=self.starts,
        )


def check_labels(records: DetectionRecords) -> None:
    """Refuse labels that are outside of the classes."""
    count = len(records.classes)
    for kind, labels in (('detection', records.det_labels), ('object', records.gt_labels)):
        outside = (labels < 0) | (labels >= count)
        if outside.any():
            raise ValueError(
                f'a {kind} has label {labels[outside][0]}, but there are {count} classes, 0 to '
                f'{count - 1}: were the records made with the classes of this data set?'
            )


def _check(records: DetectionRecords) -> None:
    """Refuse what sorting and matching would silently get wrong."""
    check_labels(records)
    for name in ('det_scores', 'det_boxes', 'gt_boxes'):
        values = getattr(records, name)
        finite = np.isfinite(values)
        if not finite.all():
            raise ValueError(
                f'{name} has {np.count_nonzero(~finite)} values that are not finite (such as '
                f'{values[~finite][0]}): the detector has diverged or the annotation is broken'
            )


def join_groups(groups: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pair every row with every item of its group, the items being sorted by group.

    ``groups`` (n,) is the group of each row, ``sizes`` the number of items of each group; given
    back are (P,) rows, ascending, and (P,) items, ascending for a row.
    """
    first = np.cumsum(sizes) - sizes
    partners = sizes[groups]
    row = np.repeat(np.arange(len(groups)), partners)
    within = np.arange(len(row)) - np.repeat(np.cumsum(partners) - partners, partners)
    return row, first[groups[row]] + within


def _join(records: DetectionRecords) -> _Join:
    _check(records)
    count = len(records.classes)
    # Two stable sorts of one key each are faster than np.lexsort: small integers go by radix.
    order = np.argsort(-records.det_scores, kind='stable')
    small = np.uint16 if count <= np.iinfo(np.uint16).max else np.int64
    order = order[np.argsort(records.det_labels[order].astype(small), kind='stable')]
    labels = records.det_labels[order]
    starts = np.concatenate([[0], np.cumsum(np.bincount(labels, minlength=count))])

    keys = records.det_images[order].astype(np.int64) * count + labels
    gt_keys = records.gt_images.astype(np.int64) * count + records.gt_labels
    by_key = np.lexsort((records.gt_ignored, gt_keys))
    per_key = np.bincount(gt_keys, minlength=records.num_images * count)
    pair_det, item = join_groups(keys, per_key)
    pair_gt = by_key[item]
    num_gt = np.bincount(records.gt_labels[~records.gt_ignored], minlength=count)
    return _Join(order, labels, keys, pair_det, pair_gt, num_gt, starts)


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


def _segment_starts(sorted_values: np.ndarray) -> np.ndarray:
    """Where runs of equal values begin."""
    if len(sorted_values) == 0:
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.concatenate([[True], sorted_values[1:] != sorted_values[:-1]]))


def match_voc(records: DetectionRecords, iou_thr: float = 0.5) -> Matches:
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
    join = _join(records)
    iou = legacy_iou(records.det_boxes[join.order[join.pair_det]], records.gt_boxes[join.pair_gt])
    begin = _segment_starts(join.pair_det)
    if len(begin):
        best = np.maximum.reduceat(iou, begin)
        length = np.diff(begin, append=len(iou))
        # Only now drop what is below the threshold: argmax is over all objects of the image.
        top = np.flatnonzero((iou == np.repeat(best, length)) & (iou >= float(iou_thr)))
        top = top[_segment_starts(join.pair_det[top])]
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
    return join.matches(records, tp, fp, found)


def match_coco(
    records: DetectionRecords,
    iou_thrs: Sequence[float] = COCO_IOU_THRS,
    max_dets: int = 100,
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
    join = _join(records)
    thrs = np.minimum(np.asarray(iou_thrs, np.float64).reshape(-1), 1 - 1e-10)
    if len(thrs) == 0:
        raise ValueError('iou_thrs is empty: give at least one IoU threshold')
    num_dets = len(join.order)
    found = np.full((len(thrs), num_dets), -1, np.int32)

    # Rank of each detection in its image and class.
    by_group = np.argsort(join.keys, kind='stable')
    begin = _segment_starts(join.keys[by_group])
    rank = np.empty(num_dets, np.int64)
    rank[by_group] = np.arange(num_dets) - np.repeat(begin, np.diff(begin, append=num_dets))
    allowed = rank < max_dets

    # A box with an IoU below the lowest threshold is never matched: few pairs remain.
    iou = coco_iou(records.det_boxes[join.order[join.pair_det]], records.gt_boxes[join.pair_gt])
    near = (iou >= thrs.min()) & allowed[join.pair_det]
    det, gt, iou = join.pair_det[near], join.pair_gt[near], iou[near]
    # Round r decides the r-th detections of all groups at once, which share no object. Within a
    # detection pairs are in order of preference, so that the first possible one is chosen.
    prefer = np.lexsort((-gt, -iou, records.gt_ignored[gt], det, rank[det]))
    det, gt, iou = det[prefer], gt[prefer], iou[prefer]
    enough = iou >= thrs[:, None]
    takes = ~records.gt_ignored[gt]
    taken = np.zeros((len(thrs), len(records.gt_labels)), bool)
    rounds = _segment_starts(rank[det])
    for start, count in zip(rounds, np.diff(rounds, append=len(det)), strict=True):
        part = slice(start, start + count)
        free = enough[:, part] & ~taken[:, gt[part]]
        begin = _segment_starts(det[part])
        place = np.where(free, np.arange(count), count)
        place = np.minimum.reduceat(place, begin, axis=1)
        thr, which = np.nonzero(place < count)
        pair = start + place[thr, which]
        found[thr, det[pair]] = gt[pair]
        taken[thr[takes[pair]], gt[pair[takes[pair]]]] = True
    ignored = np.zeros(len(records.gt_labels) + 1, bool)  # the last is for -1
    ignored[:-1] = records.gt_ignored
    tp = (found >= 0) & ~ignored[found]
    fp = (found < 0) & allowed
    return join.matches(records, tp, fp, found)
