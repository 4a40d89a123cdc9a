# SPDX-License-Identifier: Apache-2.0
"""Matching of priors and ground truth for a whole batch at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet.models.task_modules import MaxIoUAssigner
from mmdet.registry import TASK_UTILS
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

__all__ = ['BatchMaxIoUAssigner', 'pad_boxes']


def pad_boxes(bboxes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Boxes of all images as one tensor.

    Args:
        bboxes (Sequence[Tensor]): (n_i, 4) for each image.

    Returns:
        tuple[Tensor, Tensor]: Boxes (N, M, 4), M = max(n_i, 1), zeros behind
        those of an image, and which are real, (N, M), bool. Neither copies
        from the host nor waits for the device.

    Example:
        >>> boxes, is_real = pad_boxes([torch.ones(2, 4), torch.zeros(0, 4)])
        >>> tuple(boxes.shape), is_real.tolist()
        ((2, 2, 4), [[True, True], [False, False]])
    """
    boxes = pad_sequence(list(bboxes), batch_first=True)
    is_real = pad_sequence(
        [torch.ones_like(b[:, 0], dtype=torch.bool) for b in bboxes], batch_first=True
    )
    if not boxes.shape[1]:
        boxes = boxes.new_zeros(len(boxes), 1, 4)
        is_real = is_real.new_zeros(len(boxes), 1)
    return boxes, is_real


@TASK_UTILS.register_module(force=True)
class BatchMaxIoUAssigner(MaxIoUAssigner):
    """mmdet's ``MaxIoUAssigner`` in SSD's setting, without a loop over images.

    A prior belongs to the ground truth it overlaps most if that IoU reaches
    ``pos_iou_thr``, and each ground truth takes its best prior whatever the
    IoU (SSD, https://arxiv.org/abs/1512.02325, section 2.2).

    Args:
        pos_iou_thr (float): Least IoU of a positive. Defaults to 0.5.
        neg_iou_thr (float): A prior below this IoU is background; between the
            two it is ignored. Defaults to 0.5.

    Raises:
        ValueError: If ``neg_iou_thr`` is above ``pos_iou_thr``.

    Example:
        >>> assigner = BatchMaxIoUAssigner()
        >>> priors = torch.tensor([[0., 0., 4., 4.], [4., 4., 8., 8.]])
        >>> assigner.assign_batch(priors, [torch.tensor([[0., 0., 4., 5.]]), torch.zeros(0, 4)])
        tensor([[ 0, -1],
                [-1, -1]])
    """

    IGNORED = -2
    BACKGROUND = -1
    #: Most IoUs at a time: on a CPU what its cache holds, elsewhere, where each
    #: part costs launches, a few hundred MB with the temporaries.
    MAX_OVERLAPS_CPU = 2**18
    MAX_OVERLAPS = 2**24

    def __init__(self, pos_iou_thr: float = 0.5, neg_iou_thr: float = 0.5) -> None:
        if neg_iou_thr > pos_iou_thr:
            raise ValueError(
                f'neg_iou_thr must not be above pos_iou_thr = {pos_iou_thr}, '
                f'but received {neg_iou_thr}'
            )
        super().__init__(
            pos_iou_thr=float(pos_iou_thr),
            neg_iou_thr=float(neg_iou_thr),
            min_pos_iou=0.0,
            gt_max_assign_all=False,
            ignore_iof_thr=-1,
        )

    def assign_batch(self, priors: Tensor, gt_bboxes: Sequence[Tensor]) -> Tensor:
        """Match priors and ground truth of all images.

        Args:
            priors (Tensor): (P, 4), xyxy, the same for all images.
            gt_bboxes (Sequence[Tensor]): (n_i, 4), xyxy, for each image.

        Returns:
            Tensor: (N, P) int64: index of the ground truth in its image, -1
            for background or -2 for priors to ignore.
        """
        return self.assign_padded(priors, *pad_boxes(gt_bboxes))

    @torch.no_grad()
    def assign_padded(self, priors: Tensor, boxes: Tensor, is_real: Tensor) -> Tensor:
        """:meth:`assign_batch` for boxes from :func:`pad_boxes`.

        Works through as many images at a time as :attr:`MAX_OVERLAPS` (on a CPU
        :attr:`MAX_OVERLAPS_CPU`) allows;
        no step waits for the device.

        Args:
            priors (Tensor): (P, 4), xyxy, the same for all images.
            boxes (Tensor): (N, M, 4), xyxy, M > 0.
            is_real (Tensor): (N, M), bool.

        Returns:
            Tensor: (N, P) int64, see :meth:`assign_batch`.
        """
        on_cpu = boxes.device.type == 'cpu'
        limit = self.MAX_OVERLAPS_CPU if on_cpu else self.MAX_OVERLAPS
        step = max(1, limit // (boxes.shape[1] * len(priors)))
        parts = [
            self._assign(priors, *part)
            for part in zip(boxes.split(step), is_real.split(step), strict=True)
        ]
        return torch.cat(parts)

    def _assign(self, priors: Tensor, boxes: Tensor, is_real: Tensor) -> Tensor:
        overlaps = _ious(boxes, priors).masked_fill_(~is_real[..., None], -1)
        index = torch.arange(boxes.shape[1], device=boxes.device)

        best_iou = overlaps.amax(1)
        # The first of equals, as max(1) gives it, in vectorised steps.
        best_gt = torch.where(overlaps == best_iou[:, None], index.int()[:, None], len(index)).amin(
            1
        )
        result = torch.where(best_iou >= self.neg_iou_thr, self.IGNORED, self.BACKGROUND)
        result = torch.where(best_iou >= self.pos_iou_thr, best_gt.long(), result)
        # Each ground truth takes its best prior; of two that want the same one
        # the later gets it, as in mmdet's loop.
        best_prior = overlaps.argmax(2)
        forced = torch.full_like(result, self.BACKGROUND).scatter_reduce_(
            1, best_prior, index.expand_as(best_prior).masked_fill(~is_real, -1), 'amax'
        )
        return torch.where(forced >= 0, forced, result)


def _ious(boxes: Tensor, priors: Tensor) -> Tensor:
    """(N, M, 4) and (P, 4) to (N, M, P), as mmdet's ``bbox_overlaps`` rounds.

    Coordinate by coordinate: a last axis of two, as there, is slow.
    """
    x1, y1, x2, y2 = boxes[..., None].unbind(2)
    left, top, right, bottom = priors.t().contiguous()
    width = torch.minimum(x2, right).sub_(torch.maximum(x1, left)).clamp_(min=0)
    height = torch.minimum(y2, bottom).sub_(torch.maximum(y1, top)).clamp_(min=0)
    inter = width.mul_(height)
    union = ((x2 - x1) * (y2 - y1) + (right - left) * (bottom - top)).sub_(inter)
    return inter.div_(union.clamp_(min=1e-6))
