# SPDX-License-Identifier: Apache-2.0
"""The networks that converted checkpoints are checked against."""

from functools import cache

import torch
import torch.nn as nn
from mmdet.registry import MODELS
from torch import Tensor

__all__ = ['backbone_shapes', 'build_backbone', 'build_ssdlite_detector']

# Backbone, neck and head inputs of the two published detectors, as in
# configs/_base_/models (a test keeps both equal).
SSDLITE_DETECTORS = dict(
    mobilenext=dict(
        backbone=dict(
            type='MobileNeXt', out_indices=(5, 7, 7), taps=('expansion', 'expansion', 'output')
        ),
        neck=dict(
            type='SSDLiteNeck',
            in_channels=(576, 1280, 1280),
            tap_indices=(0, 1),
            out_channels=(576, 1280, 512, 256, 256, 128),
            expand_ratios=(0.2, 0.25, 0.5, 0.5),
            extra_type='sandglass',
        ),
    ),
    mobilenetv2=dict(
        backbone=dict(type='MobileNetV2', out_indices=(4, 7)),
        neck=dict(
            type='SSDLiteNeck',
            in_channels=(96, 1280),
            out_channels=(96, 1280, 512, 256, 256, 64),
            expand_ratios=(0.2, 0.5, 0.5, 0.5),
            extra_type='inverted_residual',
        ),
    ),
)


def build_ssdlite_detector(backbone: str, num_classes: int) -> nn.Module:
    """Build one of the two published detectors, with random weights.

    Args:
        backbone (str): ``'mobilenext'`` or ``'mobilenetv2'``.
        num_classes (int): Number of classes without background.

    Returns:
        nn.Module: mmdet's ``SingleStageDetector``.

    Example:
        >>> detector = build_ssdlite_detector('mobilenext', 20)
        >>> sum(p.numel() for p in detector.parameters())
        3476308
    """
    cfg = SSDLITE_DETECTORS[backbone]
    return MODELS.build(
        dict(
            type='mmdet.SingleStageDetector',
            backbone=cfg['backbone'],
            neck=cfg['neck'],
            bbox_head=dict(
                type='SSDLiteHead',
                num_classes=num_classes,
                in_channels=cfg['neck']['out_channels'],
                anchor_generator=dict(
                    type='SSDLitePriorGenerator',
                    input_size=320,
                    strides=[16, 32, 64, 120, 160, 320],
                    min_sizes=[45, 90, 135, 180, 225, 270],
                    max_sizes=[120, 180, 220, 260, 300, 320],
                    ratios=[[2, 3]] * 6,
                ),
            ),
        )
    )


@cache
def build_backbone(name: str, widen_factor: float) -> nn.Module:
    """Build a whole backbone on the meta device: keys and shapes without numbers.

    Args:
        name (str): ``'MobileNeXt'`` or ``'MobileNetV2'``, mmdet's.
        widen_factor (float): Width multiplier.

    Returns:
        nn.Module: The backbone, the same one every time; do not change it.

    Example:
        >>> build_backbone('MobileNeXt', 0.5).state_dict()['conv1.conv.weight'].shape
        torch.Size([16, 3, 3, 3])
    """
    with torch.device('meta'):
        cfg = dict(type=f'mmdet.{name}', widen_factor=widen_factor, out_indices=(7,))
        return MODELS.build(cfg)


@cache
def _backbone_shapes(name: str, widen_factor: float) -> dict[str, Tensor]:
    backbone = build_backbone(name, widen_factor)
    return {f'backbone.{k}': v.detach() for k, v in backbone.state_dict().items()}


def backbone_shapes(name: str, widen_factor: float) -> dict[str, Tensor]:
    """Keys and shapes of a whole backbone inside a detector or classifier.

    Args:
        name (str): ``'MobileNeXt'`` or ``'MobileNetV2'``, mmdet's.
        widen_factor (float): Width multiplier.

    Returns:
        dict[str, Tensor]: ``backbone.*``, on the meta device.

    Example:
        >>> backbone_shapes('MobileNetV2', 0.5)['backbone.conv1.bn.bias'].shape
        torch.Size([16])
    """
    return dict(_backbone_shapes(name, widen_factor))
