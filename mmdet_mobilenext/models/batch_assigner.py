# SPDX-License-Identifier: Apache-2.0
"""Matching of priors and ground truth for a whole batch at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet.models.task_modules import MaxIoUAssigner
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import bbox_overlaps
from torch import Tensor

__all__ = ['BatchMaxIoUAssigner']


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

    @torch.no_grad()
    def assign_batch(self, priors: Tensor, gt_bboxes: Sequence[Tensor]) -> Tensor:
        """Match priors and ground truth of all images.

        Args:
            priors (Tensor): (P, 4), xyxy, the same for all images.
            gt_bboxes (Sequence[Tensor]): (n_i, 4), xyxy, for each image.

        Returns:
            Tensor: (N, P) int64: index of the ground truth in its image, -1
            for background or -2 for priors to ignore.
        """
        counts = [len(boxes) for boxes in gt_bboxes]
        result = priors.new_full((len(counts), len(priors)), self.BACKGROUND, dtype=torch.long)
        if not sum(counts):
            return result
        boxes = torch.nn.utils.rnn.pad_sequence(list(gt_bboxes), batch_first=True)
        index = torch.arange(boxes.shape[1], device=boxes.device)
        is_real = index < torch.tensor(counts, device=boxes.device)[:, None]
        overlaps = bbox_overlaps(boxes.reshape(-1, 4), priors).reshape(*boxes.shape[:2], -1)
        overlaps = overlaps.masked_fill(~is_real[..., None], -1)

        best_iou, best_gt = overlaps.max(1)
        result[best_iou >= self.neg_iou_thr] = self.IGNORED
        result = torch.where(best_iou >= self.pos_iou_thr, best_gt, result)
        # Each ground truth takes its best prior; of two that want the same one
        # the later gets it, as in mmdet's loop.
        best_prior = overlaps.argmax(2)
        forced = torch.full_like(result, self.BACKGROUND).scatter_reduce_(
            1, best_prior, index.expand_as(best_prior).masked_fill(~is_real, -1), 'amax'
        )
        return torch.where(forced >= 0, forced, result)
