# SPDX-License-Identifier: Apache-2.0
"""Non-maximum suppression for a whole batch."""

from __future__ import annotations

import torch
from mmcv.ops import nms
from torch import Tensor

__all__ = ['nms_by_image']


def nms_by_image(
    boxes: Tensor,
    box_index: Tensor,
    scores: Tensor,
    labels: Tensor,
    num_boxes: list[int],
    num_candidates: list[int],
    iou_threshold: float,
    max_per_img: int,
    split_thr: int = 10000,
) -> list[Tensor]:
    """Class-wise NMS of each image, as ``mmcv.ops.batched_nms`` decides it.

    Greedy NMS goes from the best to the worst, so the first candidates settle
    which of them stay. Only as many as give ``max_per_img`` detections are
    looked at: the result is the same, but a network without training, of which
    every prior is a candidate in every class, costs little more than a good one.

    Classes are moved apart as in mmcv, by the same float32 offsets, so that
    every IoU has the same bits. Images are not moved apart but called one by
    one: further offsets would round the boxes anew, and mmcv's NMS for CPUs
    takes time by the square of the boxes of a call.

    Args:
        boxes (Tensor): (b, 4) float32, xyxy, of all images one after another.
            Each is the box of some candidate.
        box_index (Tensor): Which box a candidate has, (n,) int64, ascending.
        scores (Tensor): Of each candidate, (n,) float32. Of equal ones the
            earlier is better.
        labels (Tensor): Class of each candidate, (n,) int64.
        num_boxes (list[int]): Boxes of each image; b in all.
        num_candidates (list[int]): Candidates of each image; n in all.
        iou_threshold (float): A candidate with a larger IoU with a better one
            of its class is dropped.
        max_per_img (int): Most candidates kept of an image.
        split_thr (int): From as many candidates of an image on, classes are
            treated one by one. Defaults to 10000, as in mmcv.

    Returns:
        list[Tensor]: Indices of the candidates kept, (k_i,) int64, best first,
        for each image.

    Example:
        >>> boxes = torch.tensor([[0., 0., 9., 9.], [0., 0., 9., 8.], [0., 0., 9., 9.]])
        >>> scores, labels = torch.tensor([.5, .9, .7]), torch.zeros(3, dtype=torch.long)
        >>> nms_by_image(boxes, torch.arange(3), scores, labels, [2, 1], [2, 1],
        ...              iou_threshold=.5, max_per_img=100)
        [tensor([1]), tensor([2])]
    """
    kept, first_box, first = [], 0, 0
    for boxes_here, count in zip(num_boxes, num_candidates, strict=True):
        part = slice(first, first + count)
        indices = _nms_of_image(
            boxes[first_box : first_box + boxes_here],
            box_index[part] - first_box,
            scores[part],
            labels[part],
            iou_threshold,
            max_per_img,
            by_class=count >= split_thr,
        )
        kept.append(indices + first)
        first_box, first = first_box + boxes_here, first + count
    return kept


def _nms_of_image(
    boxes: Tensor,
    box_index: Tensor,
    scores: Tensor,
    labels: Tensor,
    iou_threshold: float,
    max_per_img: int,
    by_class: bool,
) -> Tensor:
    if not len(scores):
        return labels
    class_offset = boxes.max() + 1
    num_best = max(4 * max_per_img, 256)
    while True:
        order = _best(scores, num_best)
        classes = labels[order]
        shifted = boxes[box_index[order]] + (classes.to(boxes) * class_offset)[:, None]
        if by_class:
            kept = _greedy_by_class(shifted, classes, iou_threshold)
        else:
            kept = _greedy(shifted, iou_threshold)
        if len(kept) >= max_per_img or num_best >= len(scores):
            return order[kept[:max_per_img]]
        num_best *= 4


def _best(scores: Tensor, num: int) -> Tensor:
    """Indices of the ``num`` best, best first, of equal ones the earlier."""
    if num >= len(scores):
        return scores.argsort(dim=0, descending=True, stable=True)
    # topk itself picks and orders equal ones as it likes.
    (candidates,) = (scores >= scores.topk(num).values[-1]).nonzero(as_tuple=True)
    return candidates[scores[candidates].argsort(dim=0, descending=True, stable=True)][:num]


def _greedy(boxes: Tensor, iou_threshold: float) -> Tensor:
    """Indices, ascending, that NMS keeps of boxes from the best to the worst."""
    # mmcv sorts once more, equal scores as it likes: give it the ranks.
    ranks = torch.arange(len(boxes), 0, -1, dtype=boxes.dtype, device=boxes.device)
    return nms(boxes, ranks, iou_threshold)[1]


def _greedy_by_class(boxes: Tensor, classes: Tensor, iou_threshold: float) -> Tensor:
    groups = [(classes == label).nonzero(as_tuple=True)[0] for label in classes.unique()]
    return torch.cat([group[_greedy(boxes[group], iou_threshold)] for group in groups]).sort()[0]
