# SPDX-License-Identifier: Apache-2.0
"""Converter for the authors' SSDLite detectors, MobileNeXt and MobileNetV2.

Source: https://github.com/houqb/ssdlite-pytorch-mobilenext (``{'model': ...}``
or bare). Classes there start with the background; here it comes last.
"""

from collections import Counter
from collections.abc import Iterable
from functools import cache, partial

import torch
import torch.nn as nn
from torch import Tensor

from mmdet_mobilenext.checkpoints.key_map import (
    inverted_residual_map,
    mobilenetv2_map,
    mobilenext_map,
    sequential_map,
)
from mmdet_mobilenext.checkpoints.targets import build_ssdlite_detector

from .plan import Plan, source_names

__all__ = ['CONTAINERS', 'background_last', 'convert', 'describe', 'looks_like']

CONTAINERS = ('model',)
NUM_PRIORS = 6


def looks_like(keys: Iterable[str]) -> bool:
    """Whether keys are this source's.

    Args:
        keys (Iterable[str]): Keys of the weights.

    Returns:
        bool: Whether there are the authors' prediction layers.

    Example:
        >>> looks_like(f'box_head.predictor.cls_headers.{i}.conv.3.{part}'
        ...            for i in range(5) for part in ('weight', 'bias'))
        True
    """
    return sum(k.startswith('box_head.predictor.') for k in keys) > 8


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
    sizes = Counter(
        v.numel() // NUM_PRIORS - 1
        for k, v in state_dict.items()
        if '.cls_headers.' in k and k.endswith(('.conv.3.bias', '.5.bias'))
    )
    classes, _ = sizes.most_common(1)[0] if sizes else (20, 0)
    return backbone, max(classes, 1)


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


@cache
def _detector(backbone: str) -> tuple[dict[str, Tensor], dict[str, str], tuple[str, ...]]:
    """Shapes for one class, the source's names, and the keys that have a channel per class."""
    detector = build_ssdlite_detector(backbone, 1)
    expected = {k: torch.empty_like(v, device='meta') for k, v in detector.state_dict().items()}
    last = len(detector.bbox_head.cls_convs) - 1
    layers = [f'bbox_head.cls_convs.{i}.1' for i in range(last)]
    layers.append(f'bbox_head.cls_convs.{last}.0')
    predictions = tuple(f'{layer}.{part}' for layer in layers for part in ('weight', 'bias'))
    return expected, source_names(expected, _key_map(detector, backbone)), predictions


def convert(state_dict: dict[str, Tensor]) -> Plan:
    """Convert the weights of a detector.

    Args:
        state_dict (dict[str, Tensor]): The authors' weights.

    Returns:
        Plan: What becomes of them; its ``info`` has ``backbone`` and ``num_classes``.

    Raises:
        ValueError: If the weights are of another network.
    """
    backbone, num_classes = describe(state_dict)
    expected, names, predictions = _detector(backbone)
    expected = dict(expected)
    num_outputs = num_classes + 1
    for key in predictions:
        shape = (NUM_PRIORS * num_outputs, *expected[key].shape[1:])
        expected[key] = torch.empty(shape, device='meta')
    return Plan(
        expected,
        names,
        dict(backbone=backbone, num_classes=num_classes),
        dict.fromkeys(predictions, partial(background_last, num_outputs=num_outputs)),
    )
