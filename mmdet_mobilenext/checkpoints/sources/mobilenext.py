# SPDX-License-Identifier: Apache-2.0
"""What the sources of MobileNeXt classifiers have in common."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from mmdet_mobilenext.checkpoints.key_map import mobilenext_map
from mmdet_mobilenext.checkpoints.targets import backbone_shapes, build_backbone
from mmdet_mobilenext.models.mobilenext import MobileNeXt

from .plan import Plan, closest_width, count_classes, head_shapes, source_names

__all__ = ['guess_widen_factor', 'plan_classifier']


def guess_widen_factor(state_dict: Mapping[str, Tensor]) -> float:
    """Find the width multiplier from the channels of the stages.

    Args:
        state_dict (Mapping[str, Tensor]): Weights with the authors' names.

    Returns:
        float: The multiplier whose stages agree best.

    Raises:
        ValueError: If no multiplier in 0.1 to 2.0 (in steps of 0.05) agrees
            with most of the stages.
    """
    convs: dict[int, dict[int, int]] = {}  # channels, by block and place in it
    for key, value in state_dict.items():
        place = re.fullmatch(r'features\.(\d{1,3})\.conv\.(\d{1,3})\.weight', key)
        if place and value.dim() == 4:
            convs.setdefault(int(place[1]), {})[int(place[2])] = value.shape[0]
    # First block of each stage: features.{1, 2, 3, 6, 9, 13, 17, 20}.
    found: list[int | None] = []
    index = 1
    for _, _, num_blocks, _ in MobileNeXt.arch_settings:
        # The last convolution of a block has the stage's channels.
        found.append(convs[index][max(convs[index])] if index in convs else None)
        index += num_blocks
    best = closest_width(found, MobileNeXt._stage_channels)
    if best is None:
        raise ValueError(
            "this is no MobileNeXt classifier: expected keys such as 'features.1.conv.0.weight' "
            f'with the channels of a known width, found stage channels {found} in keys like '
            f'{list(state_dict)[:3]}'
        )
    return best


def plan_classifier(
    state_dict: Mapping[str, Tensor], suffixes: Mapping[str, str | None] = {}, class_dim: int = 0
) -> Plan:
    """Plan the conversion of a classifier with the authors' module names.

    Args:
        state_dict (Mapping[str, Tensor]): Weights of the source.
        suffixes (Mapping[str, str | None]): See :func:`source_names`. Defaults to {}.
        class_dim (int): Dimension of the classes in the classifier's matrix. Defaults to 0.

    Returns:
        Plan: What becomes of them; its ``info`` has ``widen_factor`` and ``num_classes``.

    Raises:
        ValueError: If the weights are of another network.
    """
    widen_factor = guess_widen_factor(state_dict)
    backbone = build_backbone('MobileNeXt', widen_factor)
    key_map = mobilenext_map(backbone, '', 'backbone.')
    key_map['classifier.1'] = 'head.fc'
    weight, bias = (state_dict.get(f'classifier.1.{part}') for part in ('weight', 'bias'))
    num_classes = count_classes(weight, bias, class_dim)
    expected = backbone_shapes('MobileNeXt', widen_factor)
    expected |= head_shapes(num_classes, backbone.stage_channels[-1])
    return Plan(
        expected,
        source_names(expected, key_map, suffixes),
        dict(widen_factor=widen_factor, num_classes=num_classes),
    )
