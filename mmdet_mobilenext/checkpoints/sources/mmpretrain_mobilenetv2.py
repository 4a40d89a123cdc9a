# SPDX-License-Identifier: Apache-2.0
"""Converter for mmpretrain's (formerly mmcls') ImageNet MobileNetV2.

Source: https://github.com/open-mmlab/mmpretrain, ``configs/mobilenet_v2``, the file behind
``mmcls://mobilenet_v2`` (``{'meta': ..., 'state_dict': ...}`` or bare).
"""

from collections.abc import Iterable

from mmdet.models.backbones import MobileNetV2
from torch import Tensor

from .mobilenetv2 import LAYERS, blocks_of, plan_classifier
from .plan import Plan

__all__ = ['CONTAINERS', 'convert', 'looks_like']

CONTAINERS = ('state_dict',)


def looks_like(keys: Iterable[str]) -> bool:
    """Whether keys are this source's.

    Args:
        keys (Iterable[str]): Keys of the weights.

    Returns:
        bool: Whether most of the blocks are there under mmpretrain's names.

    Example:
        >>> looks_like(f'backbone.layer3.{i}.conv.0.conv.weight' for i in range(9))
        True
    """
    return sum(k.startswith('backbone.layer') and '.conv.0.conv.' in k for k in keys) > 8


def _key_map(backbone: MobileNetV2) -> dict[str, str]:
    key_map = {}
    for name in ('conv1', 'conv2'):
        for part in ('conv', 'bn'):
            key_map[f'backbone.{name}.{part}'] = f'backbone.{name}.{part}'
    for name, _, _, block in blocks_of(backbone):
        layers = [layer for layer in LAYERS if hasattr(block, layer)]
        for number, layer in enumerate(layers):
            for part in ('conv', 'bn'):
                source = f'backbone.{name}.conv.{number}.{part}'
                key_map[source] = f'backbone.{name}.{layer}.{part}'
    return key_map


def convert(state_dict: dict[str, Tensor]) -> Plan:
    """Convert the weights of a classifier.

    The result has ``backbone.*`` and the classifier as ``head.fc.*``: the names of an
    ``ImageClassifier`` with mmdet's backbone.

    Args:
        state_dict (dict[str, Tensor]): mmpretrain's weights, of any width.

    Returns:
        Plan: What becomes of them; its ``info`` has ``widen_factor`` and ``num_classes``.

    Raises:
        ValueError: If the weights are of another network.
    """
    return plan_classifier(state_dict, 'mmpretrain', _key_map, 'head.fc')
