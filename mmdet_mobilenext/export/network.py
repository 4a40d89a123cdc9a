# SPDX-License-Identifier: Apache-2.0
"""A trained detector as one function of images: from uint8 pixels to decoded boxes and scores."""

from __future__ import annotations

import copy

import torch
from mmcv.cnn.utils import fuse_conv_bn
from mmdet.models import DetDataPreprocessor, SingleStageDetector, SSDHead
from mmdet.models.task_modules import DeltaXYWHBBoxCoder
from torch import Tensor, nn

from .errors import ExportError

__all__ = ['DeployableDetector', 'check_exportable']


def check_exportable(model: nn.Module) -> None:
    """Check that a detector is of a kind that :class:`DeployableDetector` knows.

    Args:
        model (nn.Module): Detector.

    Raises:
        ExportError: With the detector's and the head's name, and what is supported.

    Example:
        >>> check_exportable(nn.Linear(2, 3))
        Traceback (most recent call last):
        ...
        mmdet_mobilenext.export.errors.ExportError: Linear cannot be exported: SingleStageDetector \
with SSDLiteHead (or MMDetection's SSDHead) can, with any backbone and neck
    """
    head = getattr(model, 'bbox_head', None)
    if not isinstance(model, SingleStageDetector) or not isinstance(head, SSDHead):
        name = type(model).__name__ + (f' with {type(head).__name__}' if head is not None else '')
        raise ExportError(
            f"{name} cannot be exported: SingleStageDetector with SSDLiteHead (or MMDetection's "
            'SSDHead) can, with any backbone and neck'
        )
    preprocessor = model.data_preprocessor
    if type(preprocessor) is not DetDataPreprocessor or preprocessor.pad_mask:
        raise ExportError(
            'data_preprocessor must be DetDataPreprocessor without masks, but it is '
            f'{type(preprocessor).__name__}'
        )


class DeployableDetector(nn.Module):
    """What ``tools/test.py`` does between reading an image and NMS, as one module to be exported.

    Batch norms are folded into the convolutions before them. The order of the channels and the
    division by the standard deviation are folded into the first convolution; the mean is subtracted
    before it, since that convolution pads with zeros, which stand for the mean: folded as well, the
    border of every image would be another one.

    Args:
        model (nn.Module): Trained detector, see :func:`check_exportable`. Copied.
        size (tuple[int, int]): Width and height of the input in pixels.
        color (str): Order of the input's channels, ``'bgr'`` or ``'rgb'``.

    Raises:
        ExportError: For a detector that is not known, or a size that its priors are not made for.
    """

    def __init__(self, model: nn.Module, size: tuple[int, int], color: str = 'bgr') -> None:
        super().__init__()
        check_exportable(model)
        # a head and a backbone without what they keep from other runs
        model = copy.deepcopy(model).cpu().float().eval().requires_grad_(False)
        self.size, self.color = tuple(size), color
        preprocessor = model.data_preprocessor
        head = model.bbox_head
        self.num_classes, self.use_sigmoid = head.num_classes, bool(head.use_sigmoid_cls)
        self.backbone, self.neck = fuse_conv_bn(model.backbone), None
        if model.with_neck:
            self.neck = fuse_conv_bn(model.neck)
        self.head = fuse_conv_bn(head)

        example = torch.zeros(1, 3, size[1], size[0])
        levels = self._levels(example)
        sizes = [tuple(level.shape[-2:]) for level in levels]
        check = getattr(head.prior_generator, 'check_featmap_sizes', None)
        try:
            if check is not None:
                check(sizes, (size[1], size[0]))
        except ValueError as error:
            raise ExportError(f'size {size[0]}x{size[1]}: {error}') from error
        priors = head.prior_generator.grid_priors(sizes, device='cpu')
        self.level_priors = tuple(map(len, priors))
        self.register_buffer('priors', torch.cat(priors).float())
        self.register_buffer('border', torch.tensor([*self.size, *self.size]).float())
        self._fold_normalization(preprocessor, example)

    def _fold_normalization(self, preprocessor: nn.Module, example: Tensor) -> None:
        """Fold the channel order and the standard deviation; keep the mean."""
        mean, std = torch.zeros(3), torch.ones(3)
        if preprocessor._enable_normalize:
            mean = preprocessor.mean.float().reshape(-1).expand(3)
            std = preprocessor.std.float().reshape(-1).expand(3)
        # DetDataPreprocessor reads BGR; what it makes of it is the network's order
        network_order = 'rgb' if preprocessor._channel_conversion else 'bgr'
        first = self._first_convolution(example)
        with torch.no_grad():
            first.weight.div_(std.reshape(1, 3, 1, 1))
            if network_order != self.color:
                first.weight.copy_(first.weight.flip(1))
                mean = mean.flip(0)
        self.register_buffer('mean', mean.clone().reshape(1, 3, 1, 1))

    def _first_convolution(self, example: Tensor) -> nn.Conv2d:
        """The only module that sees the image."""
        seen: list[nn.Module] = []

        def note(module: nn.Module, args: tuple) -> None:
            # focus layers and the like would hand on parts of the image
            if args and isinstance(args[0], Tensor) and args[0].shape == example.shape:
                if args[0].data_ptr() == example.data_ptr():
                    seen.append(module)

        leaves = [m for m in self.backbone.modules() if not list(m.children())]
        hooks = [leaf.register_forward_pre_hook(note) for leaf in leaves]
        try:
            self._levels(example)
        finally:
            for hook in hooks:
                hook.remove()
        if len(seen) != 1 or type(seen[0]) is not nn.Conv2d or seen[0].groups != 1:
            names = ', '.join(type(m).__name__ for m in seen) or 'no module'
            raise ExportError(
                f'normalization can be folded into one convolution that sees the image, but in '
                f'{type(self.backbone).__name__} it is seen by {names}'
            )
        return seen[0]

    @torch.no_grad()
    def _levels(self, images: Tensor) -> tuple[Tensor, ...]:
        levels = self.backbone(images)
        return tuple(levels if self.neck is None else self.neck(levels))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Decoded boxes and scores of all priors.

        Args:
            images (Tensor): (N, H, W, 3) uint8, in the order of ``color``.

        Returns:
            tuple[Tensor, Tensor]: Boxes (N, P, 4) float32, xyxy in pixels of the input, and scores
            (N, P, num_classes) float32, without background.
        """
        return self.from_pixels(images.permute(0, 3, 1, 2).float())

    def from_pixels(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`forward`, from floats in the layout of PyTorch.

        Args:
            pixels (Tensor): (N, 3, H, W) float32 in 0..255.

        Returns:
            tuple[Tensor, Tensor]: As of :meth:`forward`.
        """
        levels = self.backbone(pixels - self.mean)
        if self.neck is not None:
            levels = self.neck(levels)
        cls_scores, bbox_preds = self.head(levels)
        logits = self._flat(cls_scores, self.head.cls_out_channels)
        scores = logits.sigmoid() if self.use_sigmoid else logits.softmax(-1)[..., :-1]
        return self._decode(self._flat(bbox_preds, 4)), scores

    def _decode(self, offsets: Tensor) -> Tensor:
        num_images, coder = offsets.shape[0], self.head.bbox_coder
        # the coder clips with slices of step 2 in place, which ncnn does not have
        clips = isinstance(coder, DeltaXYWHBBoxCoder) and coder.clip_border
        # of all images as if of one, which is what the coders take without a detour
        boxes = coder.decode(
            self.priors.repeat(num_images, 1),
            offsets.reshape(-1, 4),
            max_shape=None if clips else (self.size[1], self.size[0]),
        )
        if clips:
            boxes = torch.minimum(boxes.clamp(min=0), self.border)
        return boxes.reshape(num_images, -1, 4)

    @staticmethod
    def _flat(maps: list[Tensor], channels: int) -> Tensor:
        """(N, A * C, H, W) of each level to (N, P, C)."""
        parts = [m.permute(0, 2, 3, 1).reshape(m.shape[0], -1, channels) for m in maps]
        return torch.cat(parts, 1)
