# SPDX-License-Identifier: Apache-2.0
"""Converter for the authors' SSDLite detectors, MobileNeXt and MobileNetV2.

Source: https://github.com/houqb/ssdlite-pytorch-mobilenext (``{'model': ...}``
or bare). Classes there start with the background; here it comes last.
"""

import torch
import torch.nn as nn
from torch import Tensor

from .key_map import (
    Conversion,
    apply_key_map,
    inverted_residual_map,
    mobilenetv2_map,
    mobilenext_map,
    sequential_map,
)
from .targets import build_ssdlite_detector

__all__ = ['CONTAINERS', 'background_last', 'convert', 'describe']

CONTAINERS = ('model',)
NUM_PRIORS = 6


def describe(state_dict: dict[str, Tensor]) -> tuple[str, int]:
    """Tell which detector a state dict is of.

    Args:
        state_dict (dict[str, Tensor]): The authors' weights.

    Returns:
        tuple[str, int]: ``'mobilenext'`` or ``'mobilenetv2'``, and the number
        of classes without background.

    Raises:
        ValueError: If the weights are of neither.
    """
    predictor = state_dict.get('box_head.predictor.cls_headers.0.conv.3.bias')
    # One key may be missing or renamed (which is reported later), not all.
    votes = dict(
        mobilenext=sum('backbone.extras.0.0.' in k or '.conv.8.' in k for k in state_dict),
        mobilenetv2=sum('.conv.0.0.' in k and 'headers' not in k for k in state_dict),
    )
    backbone = max(votes, key=votes.get)
    if not votes[backbone]:
        raise ValueError(
            'this is no SSDLite detector of the MobileNeXt authors: expected keys such as '
            f"'backbone.features.0.0.weight', found {list(state_dict)[:5]}"
        )
    if predictor is None:
        predictor = next(
            (
                v
                for k, v in state_dict.items()
                if '.cls_headers.' in k
                and k.endswith('bias')
                and v.numel() % NUM_PRIORS == 0
                and ('.conv.3.' in k or '.5.' in k)
            ),
            torch.zeros(21 * NUM_PRIORS),
        )
    return backbone, predictor.numel() // NUM_PRIORS - 1


def background_last(tensor: Tensor, num_outputs: int) -> Tensor:
    """Turn the class channels of a prediction layer: index 0 goes to the end.

    Args:
        tensor (Tensor): Weight or bias, (priors * num_outputs, ...).
        num_outputs (int): Classes plus background.

    Returns:
        Tensor: The same shape.

    Example:
        >>> background_last(torch.tensor([0, 1, 2, 0, 1, 2]), 3).tolist()
        [1, 2, 0, 1, 2, 0]
    """
    per_prior = tensor.reshape(-1, num_outputs, *tensor.shape[1:])
    return per_prior.roll(-1, dims=1).reshape(tensor.shape)


def _key_map(detector: nn.Module, backbone: str) -> dict[str, str]:
    if backbone == 'mobilenext':
        key_map = mobilenext_map(detector.backbone, 'backbone.', 'backbone.')
    else:
        key_map = mobilenetv2_map(detector.backbone, 'backbone.', 'backbone.')
    for index, layer in enumerate(detector.neck.extra_layers):
        source, target = f'backbone.extras.{index}', f'neck.extra_layers.{index}'
        if backbone == 'mobilenext':
            names = ('dw', 'pw_reduce', 'pw_expand')
            key_map.update(sequential_map(source, target, layer, names))
        else:
            key_map.update(inverted_residual_map(source, target, layer))
    last = len(detector.bbox_head.cls_convs) - 1
    for branch in ('cls', 'reg'):
        for level in range(last):
            source = f'box_head.predictor.{branch}_headers.{level}.conv'
            target = f'bbox_head.{branch}_convs.{level}'
            key_map[f'{source}.0'] = f'{target}.0.conv'
            key_map[f'{source}.1'] = f'{target}.0.bn'
            key_map[f'{source}.3'] = f'{target}.1'
        key_map[f'box_head.predictor.{branch}_headers.{last}'] = (
            f'bbox_head.{branch}_convs.{last}.0'
        )
    return key_map


def convert(
    state_dict: dict[str, Tensor],
) -> Conversion:
    """Convert the weights of a detector.

    Args:
        state_dict (dict[str, Tensor]): The authors' weights.

    Returns:
        Conversion: Converted weights, source weights that no key here stands
        for, the state dict that the converted weights must match, the key
        map, and meta
        (``backbone``, ``num_classes``).
    """
    backbone, num_classes = describe(state_dict)
    detector = build_ssdlite_detector(backbone, num_classes)
    key_map = _key_map(detector, backbone)
    renamed, unknown = apply_key_map(state_dict, key_map)
    expected = detector.state_dict()
    last = len(detector.bbox_head.cls_convs) - 1
    prediction_layers = [f'bbox_head.cls_convs.{i}.1.' for i in range(last)]
    prediction_layers.append(f'bbox_head.cls_convs.{last}.0.')
    for key in renamed:
        if key.startswith(tuple(prediction_layers)) and key in expected:
            # A wrong shape is reported by the caller, with all others.
            if renamed[key].shape == expected[key].shape:
                renamed[key] = background_last(renamed[key], num_classes + 1)
    return renamed, unknown, expected, key_map, dict(backbone=backbone, num_classes=num_classes)
