# SPDX-License-Identifier: Apache-2.0
"""Converter for the authors' SSDLite detectors, MobileNeXt and MobileNetV2.

Source: https://github.com/houqb/ssdlite-pytorch-mobilenext (``{'model': ...}``
or bare). Their classes start with the background; here it comes last. Their detectors of
COCO, trained with the focal loss, have no background, but an output behind the last class that is
positive for no box: it is dropped. Which of both a file is of, keys and shapes do not tell.
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

__all__ = [
    'CONTAINERS',
    'SCORES',
    'background_last',
    'convert',
    'describe',
    'looks_like',
    'without_dead_output',
]

CONTAINERS = ('model',)
SCORES = ('softmax', 'sigmoid')
"""What turns the outputs into scores: of MultiBox loss, or of the focal loss."""

LAST_LEVEL = 5
NUM_PRIORS = 6
# The last level of the authors' configs for COCO (ratio 2) and VOC (ratios 2 and 3).
LAST_PRIORS = (4, 6)


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


def describe(state_dict: dict[str, Tensor]) -> tuple[str, int, int]:
    """Tell which detector a state dict is of.

    Args:
        state_dict (dict[str, Tensor]): The authors' weights.

    Returns:
        tuple[str, int, int]: ``'mobilenext'`` or ``'mobilenetv2'``, the number of outputs for each
        prior, which is one more than that of the classes, and the number of priors on the last
        level, 6 (VOC) or 4 (COCO).

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
        if '.cls_headers.' in k and k.endswith('.conv.3.bias')
    )
    classes, _ = sizes.most_common(1)[0] if sizes else (20, 0)
    num_outputs = max(classes, 1) + 1
    return backbone, num_outputs, _last_priors(state_dict, num_outputs)


def _last_priors(state_dict: dict[str, Tensor], num_outputs: int) -> int:
    """Priors of the last level, by what most of its four tensors say; 6 if they are at odds."""
    votes = Counter()
    for key, value in state_dict.items():
        for branch, rows in (('cls', num_outputs), ('reg', 4)):
            if (
                f'.{branch}_headers.{LAST_LEVEL}.' in key
                and value.dim() > 0
                and value.shape[0] % rows == 0
            ):
                votes[value.shape[0] // rows] += 1
    return max(reversed(LAST_PRIORS), key=lambda count: votes[count])


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


def without_dead_output(tensor: Tensor, num_outputs: int) -> Tensor:
    """Drop the last class channel of a prediction layer.

    Args:
        tensor (Tensor): Weight or bias, (priors * num_outputs, ...).
        num_outputs (int): Classes, and the one that is dropped.

    Returns:
        Tensor: (priors * (num_outputs - 1), ...).

    Example:
        >>> without_dead_output(torch.tensor([0, 1, 2, 0, 1, 2]), 3).tolist()
        [0, 1, 0, 1]
    """
    return tensor.reshape(-1, num_outputs, *tensor.shape[1:])[:, :-1].flatten(0, 1)


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
def _detector(backbone: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Shapes for one class, and the source's names."""
    detector = build_ssdlite_detector(backbone, 1)
    expected = {k: torch.empty_like(v, device='meta') for k, v in detector.state_dict().items()}
    return expected, source_names(expected, _key_map(detector, backbone))


def _predictions(branch: str, last_priors: int) -> dict[str, int]:
    """Keys of the layers that predict, with the number of priors of each."""
    priors = {f'bbox_head.{branch}_convs.{level}.1': NUM_PRIORS for level in range(LAST_LEVEL)}
    priors[f'bbox_head.{branch}_convs.{LAST_LEVEL}.0'] = last_priors
    return {f'{layer}.{part}': n for layer, n in priors.items() for part in ('weight', 'bias')}


def convert(state_dict: dict[str, Tensor], scores: str | None = None) -> Plan:
    """Convert the weights of a detector.

    Args:
        state_dict (dict[str, Tensor]): The authors' weights.
        scores (str, optional): ``'softmax'`` or ``'sigmoid'``. Defaults to None: softmax with six
            priors on the last level, which the authors have on VOC alone and trained with MultiBox
            loss; with four it has to be said.

    Returns:
        Plan: What becomes of them; its ``info`` has ``backbone``, ``num_classes``, ``scores`` and,
        with a sigmoid, ``dropped``.

    Raises:
        ValueError: If the weights are of another network, or ``scores`` is needed or unknown.
    """
    backbone, num_outputs, last_priors = describe(state_dict)
    num_classes = num_outputs - 1
    if scores is None and last_priors != NUM_PRIORS:
        raise ValueError(
            f'the detector has {num_outputs} outputs for each box and {last_priors} boxes on its '
            'last level, as the authors have on COCO, and does not tell how it was trained: pass '
            f'--scores sigmoid for {num_classes} classes of the focal loss (their COCO configs), '
            f'or --scores softmax for a background and {num_classes} classes of MultiBox loss'
        )
    scores = scores or 'softmax'
    if scores not in SCORES:
        raise ValueError(f'scores must be one of {SCORES}, but received {scores!r}')
    expected, names = _detector(backbone)
    expected, shapes, transforms = dict(expected), {}, {}
    kept = num_outputs if scores == 'softmax' else num_classes
    transform = background_last if scores == 'softmax' else without_dead_output
    for branch, rows, source_rows in (('cls', kept, num_outputs), ('reg', 4, 4)):
        for key, priors in _predictions(branch, last_priors).items():
            tail = expected[key].shape[1:]
            expected[key] = torch.empty((priors * rows, *tail), device='meta')
            if branch == 'cls':
                shapes[key] = torch.Size((priors * source_rows, *tail))
                transforms[key] = partial(transform, num_outputs=num_outputs)
    info = dict(backbone=backbone, num_classes=num_classes, scores=scores)
    if scores == 'sigmoid':
        info['dropped'] = (
            f'output {num_classes} of each prior (counted from 0), which the focal loss trains '
            'to no class'
        )
    return Plan(expected, names, info, transforms, shapes)
