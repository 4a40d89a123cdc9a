# SPDX-License-Identifier: Apache-2.0
"""What the SSDLite head should say, for a whole batch, without waiting for the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .batch_assigner import pad_boxes

if TYPE_CHECKING:
    from mmdet.utils import InstanceList

    from .batch_assigner import BatchMaxIoUAssigner

__all__ = ['DenseTargets', 'dense_targets', 'hard_negatives']


class DenseTargets(NamedTuple):
    """Targets of every prior of every image.

    Args:
        labels (Tensor): (N, P) int64, background last.
        label_weights (Tensor): Weight of the classification loss, (N, P)
            float32; 0 for a prior to ignore.
        bbox_targets (Tensor): Offsets, (N, P, 4) float32; finite, but without
            meaning where ``labels`` is the background.
    """

    labels: Tensor
    label_weights: Tensor
    bbox_targets: Tensor


@torch.no_grad()
def dense_targets(
    assigner: BatchMaxIoUAssigner,
    bbox_coder: object,
    priors: Tensor,
    batch_gt_instances: InstanceList,
    num_classes: int,
) -> DenseTargets:
    """Match and encode the ground truth of a batch.

    All shapes follow from the numbers of boxes, which the host knows.

    Args:
        assigner (BatchMaxIoUAssigner): Or any with its ``assign_padded``.
        bbox_coder (object): Box coder of mmdet.
        priors (Tensor): (P, 4), xyxy, the same for all images.
        batch_gt_instances (list[InstanceData]): ``bboxes``, (n, 4) xyxy, and
            ``labels``, (n,), of each image.
        num_classes (int): Number of classes, and the label of the background.

    Returns:
        DenseTargets: Targets of all priors.

    Example:
        >>> from mmengine.structures import InstanceData
        >>> from mmdet_mobilenext.models import BatchMaxIoUAssigner
        >>> priors = torch.tensor([[0., 0., 4., 4.], [4., 4., 8., 8.]])
        >>> gt = InstanceData(bboxes=torch.tensor([[0., 0., 4., 5.]]), labels=torch.tensor([7]))
        >>> dense_targets(BatchMaxIoUAssigner(), DeltaXYWHBBoxCoder(), priors, [gt], 20).labels
        tensor([[ 7, 20]])
    """
    boxes, is_real = pad_boxes([gt.bboxes for gt in batch_gt_instances])
    gt_labels = pad_sequence([gt.labels for gt in batch_gt_instances], batch_first=True)
    if not gt_labels.shape[1]:
        gt_labels = gt_labels.new_zeros(is_real.shape)
    matched = assigner.assign_padded(priors, boxes, is_real)
    is_pos = matched >= 0
    row = matched.clamp(min=0)
    labels = torch.where(is_pos, gt_labels.gather(1, row), num_classes)
    # The others encode themselves: a padded box of size 0 would give log(0).
    matched_boxes = torch.where(
        is_pos[..., None], boxes.gather(1, row[..., None].expand(-1, -1, 4)), priors
    )
    weights = (matched != assigner.IGNORED).float()
    return DenseTargets(labels, weights, _encode(bbox_coder, priors, matched_boxes))


def _encode(bbox_coder: object, priors: Tensor, boxes: Tensor) -> Tensor:
    """``bbox_coder.encode`` of (P, 4) and (N, P, 4)."""
    if type(bbox_coder) is not DeltaXYWHBBoxCoder:
        priors = priors.expand_as(boxes)
        return bbox_coder.encode(priors.reshape(-1, 4), boxes.reshape(-1, 4)).view_as(boxes)
    # The coder itself copies means and stds from the host in every call,
    # which a GPU has to wait for.
    px1, py1, px2, py2 = priors.float().t().contiguous()
    x1, y1, x2, y2 = boxes.float().unbind(-1)
    width, height = px2 - px1, py2 - py1
    deltas = (
        ((x1 + x2) * 0.5 - (px1 + px2) * 0.5) / width,
        ((y1 + y2) * 0.5 - (py1 + py2) * 0.5) / height,
        ((x2 - x1) / width).log(),
        ((y2 - y1) / height).log(),
    )
    scaled = zip(deltas, bbox_coder.means, bbox_coder.stds, strict=True)
    return torch.stack([(delta - mean) / std for delta, mean, std in scaled], -1)


def hard_negatives(loss: Tensor, is_pos: Tensor, is_valid: Tensor, neg_pos_ratio: float) -> Tensor:
    """Choose per image the negatives with the largest background loss.

    Args:
        loss (Tensor): Classification loss of each prior, (N, P).
        is_pos (Tensor): Which priors are matched, (N, P), bool.
        is_valid (Tensor): Which priors count at all, (N, P), bool.
        neg_pos_ratio (float): Most negatives for each positive of an image.

    Returns:
        Tensor: Which priors are hard negatives, (N, P), bool; of equal losses
        the earlier prior's.

    Example:
        >>> loss = torch.tensor([[5., 1., 4., 2.]])
        >>> is_pos = torch.tensor([[True, False, False, False]])
        >>> hard_negatives(loss, is_pos, torch.ones_like(is_pos), 2)
        tensor([[False, False,  True,  True]])
    """
    is_candidate = is_valid & ~is_pos
    num_wanted = neg_pos_ratio * is_pos.sum(1, keepdim=True)
    order = loss.masked_fill(~is_candidate, float('-inf')).argsort(
        dim=1, descending=True, stable=True
    )
    rank = torch.empty_like(order).scatter_(
        1, order, torch.arange(loss.shape[1], device=loss.device).expand_as(order)
    )
    return is_candidate & (rank < num_wanted)
