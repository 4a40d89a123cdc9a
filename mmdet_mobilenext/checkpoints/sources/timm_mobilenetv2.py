# SPDX-License-Identifier: Apache-2.0
"""Converter for timm's ImageNet MobileNetV2: 035, 050, 075, 100 and 140.

Source: https://github.com/huggingface/pytorch-image-models, ``timm/models/efficientnet.py``
(a bare state dict; ``{'state_dict': ..., 'state_dict_ema': ...}`` of its training).
"""

from collections.abc import Iterable

from mmdet.models.backbones import MobileNetV2
from torch import Tensor

from mmdet_mobilenext.checkpoints.targets import build_backbone

from .mobilenetv2 import LAYERS, blocks_of, plan_classifier
from .plan import Plan

__all__ = ['CONTAINERS', 'convert', 'looks_like']

CONTAINERS = ('state_dict', 'state_dict_ema')


def looks_like(keys: Iterable[str]) -> bool:
    """Whether keys are this source's.

    Args:
        keys (Iterable[str]): Keys of the weights.

    Returns:
        bool: Whether most of the depthwise layers are there under timm's names.

    Example:
        >>> looks_like(f'blocks.1.{i}.conv_dw.weight' for i in range(9))
        True
    """
    return sum('.conv_dw.' in k for k in keys) > 8


def _key_map(backbone: MobileNetV2) -> dict[str, str]:
    key_map = {
        'conv_stem': 'backbone.conv1.conv',
        'bn1': 'backbone.conv1.bn',
        'conv_head': 'backbone.conv2.conv',
        'bn2': 'backbone.conv2.bn',
    }
    for name, stage, position, block in blocks_of(backbone):
        source = f'blocks.{stage}.{position}'
        layers = [layer for layer in LAYERS if hasattr(block, layer)]
        # The first stage has no expansion, and timm calls its projection `pw`, not `pwl`.
        convs = ('conv_pw', 'conv_dw', 'conv_pwl') if len(layers) == 3 else ('conv_dw', 'conv_pw')
        for number, (layer, conv) in enumerate(zip(layers, convs, strict=True), start=1):
            key_map[f'{source}.{conv}'] = f'backbone.{name}.{layer}.conv'
            key_map[f'{source}.bn{number}'] = f'backbone.{name}.{layer}.bn'
    return key_map


def _refuse_deeper(state_dict: Iterable[str]) -> None:
    """mobilenetv2_110d and 120d repeat blocks more often than mmdet's MobileNetV2 can."""
    known = {
        f'blocks.{stage}.{position}'
        for _, stage, position, _ in blocks_of(build_backbone('MobileNetV2', 1.0))
    }
    blocks = {'.'.join(k.split('.')[:3]) for k in state_dict if '.conv_pwl.' in k}
    more = sorted(blocks - known)
    if len(more) > 1:  # a single one may be a key that is wrong, which is reported by its name
        raise ValueError(
            'this is no MobileNetV2 of timm that mmdet can build: it is deeper, as '
            f'mobilenetv2_110d and mobilenetv2_120d are, with the blocks {", ".join(more)}. '
            'Take mobilenetv2_050, 100 or 140'
        )


def convert(state_dict: dict[str, Tensor]) -> Plan:
    """Convert the weights of a classifier.

    The result has ``backbone.*`` and the classifier as ``head.fc.*``, the
    names of an ``ImageClassifier`` of mmpretrain.

    Args:
        state_dict (dict[str, Tensor]): timm's weights.

    Returns:
        Plan: What becomes of them; its ``info`` has ``widen_factor`` and ``num_classes``.

    Raises:
        ValueError: If the weights are of another network, such as the deeper ``110d`` and ``120d``.
    """
    _refuse_deeper(state_dict)
    return plan_classifier(state_dict, 'timm', _key_map, 'classifier')
