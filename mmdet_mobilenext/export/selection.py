# SPDX-License-Identifier: Apache-2.0
"""NMS as an operator that PyTorch runs and ONNX holds.

torch.onnx knows no NMS: torchvision's operator takes one class of one image. ONNX's own
``NonMaxSuppression`` takes all of a batch; the few nodes around it bring its list into arrays.
"""

from __future__ import annotations

import torch
from onnxscript import opset18 as op
from torch import Tensor, nn

from mmdet_mobilenext.models.batch_nms import nms_by_image

__all__ = ['TRANSLATION', 'WithSelection']


@torch.library.custom_op('mmdet_mobilenext::select_detections', mutates_args=())
def select_detections(
    boxes: Tensor, scores: Tensor, score_thr: float, iou_thr: float, max_per_img: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Class-wise NMS of a batch, into arrays of one size.

    Args:
        boxes (Tensor): (N, P, 4) float32, xyxy.
        scores (Tensor): (N, P, C) float32.
        score_thr (float): Candidates have a larger score.
        iou_thr (float): A candidate with a larger IoU with a better one of its class is dropped.
        max_per_img (int): Most that are kept; not more than P * C.

    Returns:
        tuple[Tensor, Tensor, Tensor]: Boxes (N, max_per_img, 4), scores (N, max_per_img), best
        first, and labels (N, max_per_img) int64; behind the last one zeros, and labels of -1.
    """
    found = (
        boxes.new_zeros(len(boxes), max_per_img, 4),
        scores.new_zeros(len(boxes), max_per_img),
        scores.new_full((len(boxes), max_per_img), -1, dtype=torch.long),
    )
    for number, (box, score) in enumerate(zip(boxes, scores, strict=True)):
        prior, label = (score > score_thr).nonzero(as_tuple=True)
        value = score[prior, label]
        (kept,) = nms_by_image(
            box, prior, value, label, [len(box)], [len(value)], iou_thr, max_per_img
        )
        for target, values in zip(found, (box[prior[kept]], value[kept], label[kept]), strict=True):
            target[number, : len(kept)] = values
    return found


@select_detections.register_fake
def _(boxes: Tensor, scores: Tensor, score_thr: float, iou_thr: float, max_per_img: int) -> tuple:
    shape = (boxes.shape[0], max_per_img)
    return (
        boxes.new_empty((*shape, 4)),
        scores.new_empty(shape),
        scores.new_empty(shape, dtype=torch.long),
    )


def _onnx_select_detections(
    boxes,
    scores,
    score_thr: float,
    iou_thr: float,
    max_per_img: int,
) -> tuple:
    """The same in ONNX. Equal scores are ordered by class, then prior.

    Classes are moved apart as in mmcv, which makes them one: so NMS is over as soon as there are
    enough detections of all classes together, and not of each.
    """

    def integers(*values: int):
        return op.Constant(value_ints=list(values))

    zero = op.Constant(value_float=0.0)
    threshold = op.Constant(value_float=score_thr)
    by_class = op.Transpose(scores, perm=[0, 2, 1])
    num_classes, num_priors = op.Shape(by_class, start=1, end=2), op.Shape(boxes, start=1, end=2)

    # by the largest coordinate of a candidate, as in mmcv
    is_candidate = op.Greater(op.ReduceMax(by_class, integers(1), keepdims=0), threshold)
    ends = op.Where(is_candidate, op.ReduceMax(boxes, integers(2), keepdims=0), zero)
    distance = op.Add(op.ReduceMax(ends, integers(1), keepdims=1), op.Constant(value_float=1.0))
    numbers = op.Range(op.Constant(value_int=0), op.Squeeze(num_classes), op.Constant(value_int=1))
    shifts = op.Unsqueeze(op.Mul(distance, op.Cast(numbers, to=1)), integers(2))
    # with long rows, which runtimes add quickly
    apart = op.Add(op.Reshape(boxes, integers(0, 1, -1)), shifts)

    flat = op.Reshape(by_class, integers(0, 1, -1))
    chosen = op.NonMaxSuppression(
        op.Reshape(apart, integers(0, -1, 4)),
        flat,
        integers(max_per_img),
        op.Constant(value_floats=[iou_thr]),
        op.Constant(value_floats=[score_thr]),
    )
    # its list is of unknown length: put into the scores of all, it has the shape of those
    kept = op.ScatterND(op.ConstantOfShape(op.Shape(flat)), chosen, op.GatherND(flat, chosen))
    values, places = op.TopK(op.Squeeze(kept, integers(1)), integers(max_per_img), axis=1)
    is_found = op.Greater(values, zero)
    labels = op.Where(is_found, op.Div(places, num_priors), integers(-1))
    taken = op.GatherND(boxes, op.Unsqueeze(op.Mod(places, num_priors), integers(2)), batch_dims=1)
    return op.Where(op.Unsqueeze(is_found, integers(2)), taken, zero), values, labels


TRANSLATION = {torch.ops.mmdet_mobilenext.select_detections.default: _onnx_select_detections}
"""For ``torch.onnx.export(custom_translation_table=...)``."""


class WithSelection(nn.Module):
    """A network with NMS behind it.

    Args:
        network (nn.Module): Returns boxes (N, P, 4) and scores (N, P, C).
        score_thr (float): See :func:`select_detections`.
        iou_thr (float): See there.
        max_per_img (int): See there.

    Example:
        >>> class Two(nn.Module):
        ...     def forward(self, x):
        ...         return torch.tensor([[[0., 0., 9., 9.], [0., 0., 9., 8.]]]), x
        >>> boxes, scores, labels = WithSelection(Two(), 0.1, 0.5, 2)(torch.tensor([[[.9], [.8]]]))
        >>> labels.tolist()
        [[0, -1]]
    """

    def __init__(
        self, network: nn.Module, score_thr: float, iou_thr: float, max_per_img: int
    ) -> None:
        super().__init__()
        self.network = network
        self.options = (score_thr, iou_thr, max_per_img)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Detections of a batch.

        Args:
            images (Tensor): What the network takes.

        Returns:
            tuple[Tensor, Tensor, Tensor]: See :func:`select_detections`.
        """
        boxes, scores = self.network(images)
        return torch.ops.mmdet_mobilenext.select_detections(boxes, scores, *self.options)
