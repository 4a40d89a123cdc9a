# SPDX-License-Identifier: Apache-2.0
"""Module-by-module key maps that the converters share.

A key map takes the module prefix of a source key (everything before the last
dot) to the module prefix in this project.
"""

from collections.abc import Iterable

import torch.nn as nn
from mmcv.cnn import ConvModule
from mmdet.models.backbones import MobileNetV2
from mmdet.models.layers import InvertedResidual

from mmdet_mobilenext.models.mobilenext import MobileNeXt
from mmdet_mobilenext.models.sandglass import SandglassBlock

__all__ = [
    'inverted_residual_map',
    'mobilenetv2_map',
    'mobilenext_map',
    'sequential_map',
]

SANDGLASS_LAYERS = ('dw_in', 'pw_reduce', 'pw_expand', 'dw_out')


def sequential_map(source: str, target: str, block: nn.Module, names: Iterable[str]) -> dict:
    """Map a flat ``nn.Sequential`` of conv, norm and activation to a block
    whose ``ConvModule`` layers have names.

    Args:
        source (str): Prefix of the sequential in the source.
        target (str): Prefix of the block here.
        block (nn.Module): The block here.
        names (Iterable[str]): Its layers in running order; those that this
            block does not have are passed over.

    Returns:
        dict[str, str]: Key map.

    Example:
        >>> sequential_map('features.3.conv', 'layer3.0', SandglassBlock(144, 192, 2),
        ...                SANDGLASS_LAYERS)['features.3.conv.2']
        'layer3.0.pw_expand.conv'
    """
    key_map = {}
    position = 0
    for name in names:
        layer = getattr(block, name, None)
        if not isinstance(layer, ConvModule):
            continue
        key_map[f'{source}.{position}'] = f'{target}.{name}.conv'
        key_map[f'{source}.{position + 1}'] = f'{target}.{name}.bn'
        # An activation takes a place of its own, but has no keys.
        position += 3 if layer.with_activation else 2
    return key_map


def mobilenext_map(backbone: MobileNeXt, source: str, target: str) -> dict[str, str]:
    """Key map of the authors' MobileNeXt, ``features.{block}.conv.{layer}``.

    Args:
        backbone (MobileNeXt): The backbone that receives the weights.
        source (str): Prefix in the source with a closing dot, or ''.
        target (str): Prefix here with a closing dot, or ''.

    Returns:
        dict[str, str]: Key map.
    """
    key_map = {
        f'{source}features.0.0': f'{target}conv1.conv',
        f'{source}features.0.1': f'{target}conv1.bn',
    }
    index = 1
    for name in backbone.layers:
        for position, block in enumerate(getattr(backbone, name)):
            assert isinstance(block, SandglassBlock)
            key_map.update(
                sequential_map(
                    f'{source}features.{index}.conv',
                    f'{target}{name}.{position}',
                    block,
                    SANDGLASS_LAYERS,
                )
            )
            index += 1
    return key_map


def inverted_residual_map(source: str, target: str, block: InvertedResidual) -> dict[str, str]:
    """Key map of one inverted residual block in torchvision's form.

    Args:
        source (str): Prefix of the block in the source.
        target (str): Prefix of the block here.
        block (InvertedResidual): The block here.

    Returns:
        dict[str, str]: Key map.
    """
    key_map = {}
    position = 0
    for name in ('expand_conv', 'depthwise_conv'):
        if hasattr(block, name):
            key_map[f'{source}.conv.{position}.0'] = f'{target}.{name}.conv'
            key_map[f'{source}.conv.{position}.1'] = f'{target}.{name}.bn'
            position += 1
    key_map[f'{source}.conv.{position}'] = f'{target}.linear_conv.conv'
    key_map[f'{source}.conv.{position + 1}'] = f'{target}.linear_conv.bn'
    return key_map


def mobilenetv2_map(backbone: MobileNetV2, source: str, target: str) -> dict[str, str]:
    """Key map of MobileNetV2 in torchvision's form.

    Args:
        backbone (MobileNetV2): mmdet's backbone that receives the weights.
        source (str): Prefix in the source with a closing dot, or ''.
        target (str): Prefix here with a closing dot, or ''.

    Returns:
        dict[str, str]: Key map.
    """
    key_map = {}
    blocks = [
        (f'{name}.{position}', block)
        for name in backbone.layers
        if name != 'conv2'
        for position, block in enumerate(getattr(backbone, name))
    ]
    for index, (name, block) in enumerate(blocks, start=1):
        key_map.update(inverted_residual_map(f'{source}features.{index}', f'{target}{name}', block))
    for index, name in ((0, 'conv1'), (len(blocks) + 1, 'conv2')):
        key_map[f'{source}features.{index}.0'] = f'{target}{name}.conv'
        key_map[f'{source}features.{index}.1'] = f'{target}{name}.bn'
    return key_map
