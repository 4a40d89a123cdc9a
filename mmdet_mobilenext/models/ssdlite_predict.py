# SPDX-License-Identifier: Apache-2.0
"""From the outputs of the SSDLite head to detections, for a whole batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from .batch_nms import nms_by_image

if TYPE_CHECKING:
    from mmdet.utils import ConfigType, InstanceList

__all__ = ['can_predict_batch', 'predict_batch']


def can_predict_batch(cfg: ConfigType, num_candidates: int) -> bool:
    """Whether :func:`predict_batch` knows everything that a ``test_cfg`` asks for.

    Args:
        cfg (dict): ``test_cfg`` of a head.
        num_candidates (int): Priors times classes of the largest level.

    Returns:
        bool: False if ``nms_pre`` may cut candidates of a level, if NMS is of
        another type or has other options, or if the detections of an image are
        not limited: then mmdet's way, image by image, is meant to decide.

    Example:
        >>> cfg = dict(nms_pre=1000, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100)
        >>> can_predict_batch(cfg, 1000), can_predict_batch(cfg, 1001)
        (True, False)
    """
    nms_cfg = cfg.get('nms') or {}
    return (
        cfg.get('nms_pre', -1) >= num_candidates
        and cfg.get('max_per_img', -1) > 0
        and nms_cfg.get('type', 'nms') == 'nms'
        and set(nms_cfg) <= {'type', 'iou_threshold', 'split_thr'}
        and 'iou_threshold' in nms_cfg
    )


@torch.no_grad()
def predict_batch(
    cls_score: Tensor,
    bbox_pred: Tensor,
    priors: Tensor,
    bbox_coder: object,
    batch_img_metas: list[dict],
    cfg: ConfigType,
    rescale: bool = False,
    use_sigmoid: bool = False,
) -> InstanceList:
    """Detections of all images, the same as mmdet's image by image, a sigmoid to rounding.

    Equal scores are ordered by prior, then class; in mmdet their order is not
    defined.

    Args:
        cls_score (Tensor): (N, P, num_classes + 1) float32, before the
            softmax, background last; or (N, P, num_classes), before the
            sigmoid.
        bbox_pred (Tensor): Offsets, (N, P, 4) float32.
        priors (Tensor): (P, 4), xyxy, the same for all images.
        bbox_coder (object): Box coder of mmdet.
        batch_img_metas (list[dict]): ``img_shape``, and ``scale_factor`` if
            ``rescale``, of each image.
        cfg (dict): ``score_thr``, ``nms``, ``max_per_img``, ``min_bbox_size``,
            see :func:`can_predict_batch`.
        rescale (bool): Return boxes in pixels of the original image.
            Defaults to False.
        use_sigmoid (bool): Scores are those of a sigmoid, without background.
            Defaults to False.

    Returns:
        list[InstanceData]: ``bboxes`` (n, 4) xyxy in pixels, ``scores`` (n,)
        float32 and ``labels`` (n,) int64 of each image, best first.

    Example:
        >>> from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
        >>> cfg = dict(score_thr=0.3, nms=dict(type='nms', iou_threshold=0.45), max_per_img=9)
        >>> found, = predict_batch(
        ...     torch.tensor([[[9., 0., 0.], [0., 0., 9.]]]), torch.zeros(1, 2, 4),
        ...     torch.tensor([[0., 0., 4., 4.], [4., 4., 8., 8.]]), DeltaXYWHBBoxCoder(),
        ...     [dict(img_shape=(8, 8))], cfg)
        >>> found.bboxes.tolist(), found.labels.tolist()
        ([[0.0, 0.0, 4.0, 4.0]], [0])
    """
    score_thr = cfg.get('score_thr', 0)
    all_scores = cls_score.sigmoid() if use_sigmoid else cls_score.softmax(-1)[..., :-1]
    # Only priors with a candidate are decoded, each once for all its classes.
    image, prior = (all_scores.amax(-1) > score_thr).nonzero(as_tuple=True)
    boxes = _decode(bbox_coder, priors[prior], bbox_pred[image, prior], image, batch_img_metas)
    if rescale:
        # Inverted in Python's float64, as in mmdet: the rounding differs in float32.
        inverse = [[1 / s for s in meta['scale_factor']] for meta in batch_img_metas]
        boxes = boxes * boxes.new_tensor(inverse).repeat(1, 2)[image]
    scores = all_scores[image, prior]
    min_size = cfg.get('min_bbox_size', -1)
    if min_size >= 0:
        is_large = (boxes[:, 2:] - boxes[:, :2] > min_size).all(1)
        boxes, scores, image = boxes[is_large], scores[is_large], image[is_large]

    is_candidate = scores > score_thr
    box_index, labels = is_candidate.nonzero(as_tuple=True)
    scores = scores.masked_select(is_candidate)
    counts = [i.bincount(minlength=len(batch_img_metas)) for i in (image, image[box_index])]
    nms_cfg = cfg['nms']
    kept = nms_by_image(
        boxes,
        box_index,
        scores,
        labels,
        *torch.stack(counts).tolist(),
        iou_threshold=nms_cfg['iou_threshold'],
        max_per_img=cfg['max_per_img'],
        split_thr=nms_cfg.get('split_thr', 10000),
    )
    return [
        InstanceData(bboxes=boxes[box_index[k]], scores=scores[k], labels=labels[k]) for k in kept
    ]


def _decode(
    bbox_coder: object,
    priors: Tensor,
    bbox_pred: Tensor,
    image: Tensor,
    batch_img_metas: list[dict],
) -> Tensor:
    """Boxes (n, 4), clipped, if the coder clips, to the image of each."""
    shapes = [tuple(meta['img_shape'][:2]) for meta in batch_img_metas]
    if len(set(shapes)) == 1 or not getattr(bbox_coder, 'clip_border', True):
        return bbox_coder.decode(priors, bbox_pred, max_shape=shapes[0])
    lengths = image.bincount(minlength=len(shapes)).tolist()
    parts = zip(priors.split(lengths), bbox_pred.split(lengths), shapes, strict=True)
    return torch.cat([bbox_coder.decode(p, b, max_shape=shape) for p, b, shape in parts])
