# SPDX-License-Identifier: Apache-2.0
"""Converter for torchvision's ImageNet MobileNetV2.

Source: https://github.com/pytorch/vision, ``torchvision.models.mobilenet_v2``
(a bare state dict).
"""

import torch
from mmdet.models.backbones import MobileNetV2
from torch import Tensor

from .key_map import Conversion, apply_key_map, mobilenetv2_map

__all__ = ['CONTAINERS', 'convert']

CONTAINERS = ('state_dict',)


def convert(
    state_dict: dict[str, Tensor],
) -> Conversion:
    """Convert the weights of a classifier of width 1.

    The result has ``backbone.*`` and the classifier as ``head.fc.*``, the
    names of an ``ImageClassifier`` of mmpretrain.

    Args:
        state_dict (dict[str, Tensor]): torchvision's weights.

    Returns:
        Conversion: Converted weights, source weights that no key here stands
        for, the state dict that the converted weights must match, the key
        map, and meta
        (``num_classes``).

    Raises:
        ValueError: If the weights are of another network.
    """
    if not any(k.startswith('features.18.') for k in state_dict):
        raise ValueError(
            "this is no torchvision MobileNetV2: expected keys such as 'features.18.0.weight', "
            f'found {list(state_dict)[:3]}'
        )
    backbone = MobileNetV2(out_indices=(7,))
    key_map = mobilenetv2_map(backbone, '', 'backbone.')
    key_map['classifier.1'] = 'head.fc'
    renamed, unknown = apply_key_map(state_dict, key_map)
    num_classes = len(state_dict.get('classifier.1.bias', torch.zeros(1000)))
    expected = {f'backbone.{k}': v for k, v in backbone.state_dict().items()}
    expected['head.fc.weight'] = torch.empty(num_classes, 1280)
    expected['head.fc.bias'] = torch.empty(num_classes)
    return renamed, unknown, expected, key_map, dict(widen_factor=1.0, num_classes=num_classes)
