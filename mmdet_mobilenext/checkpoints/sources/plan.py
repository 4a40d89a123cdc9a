# SPDX-License-Identifier: Apache-2.0
"""How the weights of one source become ours: what every source module hands over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

__all__ = ['Plan', 'closest_width', 'count_classes', 'head_shapes', 'source_names']

COUNTER = 'num_batches_tracked'


@dataclass
class Plan:
    """How the weights of one file become ours.

    Attributes:
        expected (dict[str, Tensor]): All keys and shapes of the result, on the meta device.
        names (dict[str, str]): For each of them its key in the source. Counters of batch norms
            may lack one, if the source has none.
        info (dict): What was found out, for the meta of the result.
        transforms (dict[str, Callable]): By key of the result, what turns the source's tensor
            into ours.
        shapes (dict[str, tuple[int, ...]]): By key of the result, the shape in the source, where it
            is another one.
        left_out (list[str]): Keys that the source has beside and that are not converted.
    """

    expected: dict[str, Tensor]
    names: dict[str, str]
    info: dict[str, Any]
    transforms: dict[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def source_names(
    expected: Iterable[str], key_map: Mapping[str, str], suffixes: Mapping[str, str | None] = {}
) -> dict[str, str]:
    """Turn a key map of modules into the source's name of each key.

    Args:
        expected (Iterable[str]): Keys of the result.
        key_map (Mapping[str, str]): Module prefixes, from the source's to ours.
        suffixes (Mapping[str, str | None]): Last parts of our keys that are called otherwise in
            the source, or (None) that it has not. Defaults to {}, all the same.

    Returns:
        dict[str, str]: From our keys to the source's.

    Example:
        >>> source_names(['x.y.weight', 'x.y.running_var'], {'a': 'x.y'}, dict(running_var='_var'))
        {'x.y.weight': 'a.weight', 'x.y.running_var': 'a._var'}
    """
    inverse = {target: source for source, target in key_map.items()}
    names = {}
    for key in expected:
        module, _, name = key.rpartition('.')
        name = suffixes.get(name, name)
        if name is not None:
            names[key] = f'{inverse[module]}.{name}'
    return names


def closest_width(
    found: Sequence[int | None], channels_of: Callable[[float], Sequence[int]]
) -> float | None:
    """Find the width multiplier from the channels of the stages.

    The published ones are tried first, then all from 0.1 to 2.0 in steps of 0.05.

    Args:
        found (Sequence[int | None]): Channels of each stage in the file.
        channels_of (Callable): Channels of each stage for a multiplier.

    Returns:
        float | None: The multiplier whose stages agree best, or None if none agrees with most of
        them. (A single wrong key must not hide which network it is.)

    Example:
        >>> closest_width([16, 32, None], lambda width: [16 * width, 32 * width, 64 * width])
        1.0
    """
    published = (1.0, 0.75, 0.5, 0.35, 1.4, 0.1)
    others = (round(0.05 * i, 2) for i in range(2, 41))

    def agreement(widen_factor: float) -> int:
        return sum(a == b for a, b in zip(found, channels_of(widen_factor), strict=True))

    best = max((*published, *others), key=agreement)
    return best if agreement(best) > len(found) // 2 else None


def count_classes(weight: Tensor | None, bias: Tensor | None, dim: int = 0) -> int:
    """Number of classes of a linear classifier of which one part may be missing or misshapen.

    Args:
        weight (Tensor, optional): Its matrix.
        bias (Tensor, optional): Its bias, (classes,).
        dim (int): Dimension of the classes in ``weight``. Defaults to 0.

    Returns:
        int: Classes; 1000 if neither part tells.

    Example:
        >>> count_classes(torch.zeros(20, 1280), None)
        20
    """
    if bias is not None and bias.dim() == 1:
        return len(bias)
    if weight is not None and weight.dim() == 2:
        return weight.shape[dim]
    return 1000


def head_shapes(num_classes: int, in_channels: int) -> dict[str, Tensor]:
    """The classifier of an ``ImageClassifier`` of mmpretrain.

    Args:
        num_classes (int): Number of classes.
        in_channels (int): Channels of the backbone's last feature.

    Returns:
        dict[str, Tensor]: ``head.fc.weight`` and ``head.fc.bias`` on the meta device.

    Example:
        >>> [tuple(v.shape) for v in head_shapes(1000, 1280).values()]
        [(1000, 1280), (1000,)]
    """
    return {
        'head.fc.weight': torch.empty(num_classes, in_channels, device='meta'),
        'head.fc.bias': torch.empty(num_classes, device='meta'),
    }
