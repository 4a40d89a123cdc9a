# SPDX-License-Identifier: Apache-2.0
"""What the sources of MobileNetV2 have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from mmdet.models.backbones import MobileNetV2
from mmdet.models.layers import InvertedResidual
from mmdet.models.utils import make_divisible
from torch import Tensor

from mmdet_mobilenext.checkpoints.targets import backbone_shapes, build_backbone

from .plan import Plan, closest_width, count_classes, head_shapes, source_names

__all__ = ['LAYERS', 'blocks_of', 'plan_classifier']

LAYERS = ('expand_conv', 'depthwise_conv', 'linear_conv')
"""Layers of mmdet's inverted residual block in running order; the first stage lacks the first."""


def blocks_of(backbone: MobileNetV2) -> Iterator[tuple[str, int, int, InvertedResidual]]:
    """The blocks of mmdet's MobileNetV2.

    Args:
        backbone (MobileNetV2): The backbone.

    Yields:
        tuple[str, int, int, InvertedResidual]: Name here, index of its stage from 0, index in its
        stage from 0, and the block.

    Example:
        >>> [name for name, *_ in blocks_of(MobileNetV2())][:3]
        ['layer1.0', 'layer2.0', 'layer2.1']
    """
    for stage, name in enumerate(name for name in backbone.layers if name != 'conv2'):
        for position, block in enumerate(getattr(backbone, name)):
            yield f'{name}.{position}', stage, position, block


def plan_classifier(
    state_dict: Mapping[str, Tensor],
    owner: str,
    make_key_map: Callable[[MobileNetV2], dict[str, str]],
    head: str | None,
) -> Plan:
    """Plan the conversion of a MobileNetV2 of any width.

    Args:
        state_dict (Mapping[str, Tensor]): Weights of the source.
        owner (str): Whose they are, for messages.
        make_key_map (Callable): From a backbone to the source's key map; targets begin with
            ``backbone.``.
        head (str, optional): The source's name of the classifier, or None without one.

    Returns:
        Plan: What becomes of them; its ``info`` has ``widen_factor`` and ``num_classes``.

    Raises:
        ValueError: If the weights are of another network.
    """
    # The names are those of any width.
    key_map = make_key_map(build_backbone('MobileNetV2', 1.0))
    if head is not None:
        key_map[head] = 'head.fc'
    inverse = {target: source for source, target in key_map.items()}
    lasts = [f'layer{i}.0.linear_conv.bn' for i in range(1, 8)] + ['conv2.bn']
    found = [_channels(state_dict, inverse[f'backbone.{last}']) for last in lasts]
    widen_factor = closest_width(found, _stage_channels)
    if widen_factor is None:
        raise ValueError(
            f'this is no MobileNetV2 of {owner}: expected keys such as '
            f"'{inverse['backbone.conv2.conv']}.weight' with the channels of a known width, found "
            f'stage channels {found} in keys like {list(state_dict)[:3]}'
        )
    expected = backbone_shapes('MobileNetV2', widen_factor)
    info = dict(widen_factor=widen_factor)
    if head is not None:
        parts = (state_dict.get(f'{head}.{part}') for part in ('weight', 'bias'))
        info['num_classes'] = count_classes(*parts)
        expected |= head_shapes(info['num_classes'], _stage_channels(widen_factor)[-1])
    return Plan(expected, source_names(expected, key_map), info)


def _channels(state_dict: Mapping[str, Tensor], norm: str) -> int | None:
    """Channels of a norm; of two keys one may be missing or misshapen."""
    for part in ('running_mean', 'bias'):
        tensor = state_dict.get(f'{norm}.{part}')
        if tensor is not None and tensor.dim() == 1:
            return len(tensor)
    return None


def _stage_channels(widen_factor: float) -> list[int]:
    """As mmdet's MobileNetV2 counts them."""
    stages = [make_divisible(c * widen_factor, 8) for _, c, *_ in MobileNetV2.arch_settings]
    return [*stages, int(1280 * max(widen_factor, 1.0))]
