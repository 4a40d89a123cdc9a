# SPDX-License-Identifier: Apache-2.0
"""Converter for the authors' ImageNet classifiers, MobileNeXt of any width.

Source: https://github.com/zhoudaquan/rethinking_bottleneck_design
(``{'state_dict': ...}``, ``{'state_dict_ema': ...}`` or bare, with or without
``module.`` prefixes).
"""

import torch
from torch import Tensor

from mmdet_mobilenext.models.mobilenext import MobileNeXt

from .key_map import Conversion, apply_key_map, mobilenext_map

__all__ = ['CONTAINERS', 'convert', 'guess_widen_factor']

CONTAINERS = ('state_dict', 'state_dict_ema')


def guess_widen_factor(state_dict: dict[str, Tensor]) -> float:
    """Find the width multiplier from the channels of the stages.

    Args:
        state_dict (dict[str, Tensor]): The authors' weights.

    Returns:
        float: The multiplier whose stages agree best.

    Raises:
        ValueError: If no multiplier in 0.1 to 2.0 (in steps of 0.05) agrees
            with most of the stages.
    """
    published = (1.0, 0.75, 0.5, 0.35, 1.4, 0.1)
    others = (round(0.05 * i, 2) for i in range(2, 41))
    # First block of each stage: features.{1, 2, 3, 6, 9, 13, 17, 20}.
    starts, index = [], 1
    for _, _, num_blocks, _ in MobileNeXt.arch_settings:
        starts.append(index)
        index += num_blocks
    found = []
    for start in starts:
        prefix = f'features.{start}.conv.'
        widths = [
            v.shape[0] for k, v in state_dict.items() if k.startswith(prefix) and v.dim() == 4
        ]
        # The last convolution of a block has the stage's channels.
        found.append(widths[-1] if widths else None)

    def agreement(widen_factor: float) -> int:
        return sum(
            a == b for a, b in zip(found, MobileNeXt._stage_channels(widen_factor), strict=False)
        )

    best = max((*published, *others), key=agreement)
    if agreement(best) <= len(found) // 2:
        raise ValueError(
            "this is no MobileNeXt classifier: expected keys such as 'features.1.conv.0.weight' "
            f'with the channels of a known width, found stage channels {found} in keys like '
            f'{list(state_dict)[:3]}'
        )
    return best


def convert(
    state_dict: dict[str, Tensor],
) -> Conversion:
    """Convert the weights of a classifier.

    The result has ``backbone.*`` and the classifier as ``head.fc.*``, the
    names of an ``ImageClassifier`` of mmpretrain.

    Args:
        state_dict (dict[str, Tensor]): The authors' weights.

    Returns:
        Conversion: Converted weights, source weights that no key here stands
        for, the state dict that the converted weights must match, the key
        map, and meta
        (``widen_factor``, ``num_classes``).
    """
    widen_factor = guess_widen_factor(state_dict)
    backbone = MobileNeXt(widen_factor=widen_factor, out_indices=(7,))
    key_map = mobilenext_map(backbone, '', 'backbone.')
    key_map['classifier.1'] = 'head.fc'
    renamed, unknown = apply_key_map(state_dict, key_map)
    num_classes = len(state_dict.get('classifier.1.bias', torch.zeros(1000)))
    expected = {f'backbone.{k}': v for k, v in backbone.state_dict().items()}
    expected['head.fc.weight'] = torch.empty(num_classes, backbone.stage_channels[-1])
    expected['head.fc.bias'] = torch.empty(num_classes)
    return (
        renamed,
        unknown,
        expected,
        key_map,
        dict(widen_factor=widen_factor, num_classes=num_classes),
    )
