# SPDX-License-Identifier: Apache-2.0
"""Converter for torchvision's ImageNet MobileNetV2.

Source: https://github.com/pytorch/vision, ``torchvision.models.mobilenet_v2``
(a bare state dict).
"""

from collections.abc import Iterable

from torch import Tensor

from mmdet_mobilenext.checkpoints.key_map import mobilenetv2_map

from .mobilenetv2 import plan_classifier
from .plan import Plan

__all__ = ['CONTAINERS', 'convert', 'looks_like']

CONTAINERS = ('state_dict',)


def looks_like(keys: Iterable[str]) -> bool:
    """Whether keys are this source's.

    Args:
        keys (Iterable[str]): Keys of the weights.

    Returns:
        bool: Whether most of MobileNetV2's blocks are there under torchvision's names.

    Example:
        >>> looks_like(f'features.{i}.conv.0.0.weight' for i in range(1, 18))
        True
    """
    return sum('.conv.0.0.' in k and k.startswith('features.') for k in keys) > 8


def convert(state_dict: dict[str, Tensor]) -> Plan:
    """Convert the weights of a classifier.

    The result has ``backbone.*`` and the classifier as ``head.fc.*``, the
    names of an ``ImageClassifier`` of mmpretrain.

    Args:
        state_dict (dict[str, Tensor]): torchvision's weights, of any width.

    Returns:
        Plan: What becomes of them; its ``info`` has ``widen_factor`` and ``num_classes``.

    Raises:
        ValueError: If the weights are of another network.
    """
    return plan_classifier(
        state_dict,
        'torchvision',
        lambda backbone: mobilenetv2_map(backbone, '', 'backbone.'),
        'classifier.1',
    )
