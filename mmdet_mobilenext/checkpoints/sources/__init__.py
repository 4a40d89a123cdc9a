# SPDX-License-Identifier: Apache-2.0
"""Whose checkpoints can be converted; one module per source.

A source module has ``CONTAINERS`` (keys under which its files have the weights), ``looks_like``
(whether keys are this source's; by many of them, since a single one may be wrong), ``convert`` (how
the weights become ours) and, if its files are not PyTorch's, ``load``.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType

from . import (
    houqb_detector,
    mmdet_mobilenetv2,
    mmpretrain_mobilenetv2,
    mobilenext_imagenet,
    paddleclas_mobilenext,
    timm_mobilenetv2,
    torchvision_mobilenetv2,
)

__all__ = ['AUTO', 'SOURCES', 'recognise']

SOURCES: dict[str, ModuleType] = {
    'houqb-detector': houqb_detector,
    'mmdet-mobilenetv2': mmdet_mobilenetv2,
    'mmpretrain-mobilenetv2': mmpretrain_mobilenetv2,
    'mobilenext-imagenet': mobilenext_imagenet,
    'paddleclas-mobilenext': paddleclas_mobilenext,
    'timm-mobilenetv2': timm_mobilenetv2,
    'torchvision-mobilenetv2': torchvision_mobilenetv2,
}

AUTO = 'auto'
"""Instead of a source: recognise it."""


def recognise(keys: Iterable[str]) -> str:
    """Tell the source from the keys.

    Args:
        keys (Iterable[str]): Keys of the weights.

    Returns:
        str: A key of :data:`SOURCES`.

    Raises:
        ValueError: If they look like none of them, or like several.

    Example:
        >>> recognise(f'blocks.1.{i}.conv_dw.weight' for i in range(9))
        'timm-mobilenetv2'
    """
    keys = list(keys)
    if any(k.startswith('neck.extra_layers.') for k in keys):
        raise ValueError(
            'this is a detector of this project already: test it with tools/test.py, start from it '
            'with load_from, or name a --source to take its backbone alone'
        )
    found = [name for name, module in SOURCES.items() if module.looks_like(keys)]
    if len(found) != 1:
        looks = f'like {" and ".join(found)}' if found else f'like none of {", ".join(SOURCES)}'
        raise ValueError(
            f'cannot recognise whose checkpoint this is: its keys look {looks}; they are '
            f'{keys[:5]} and {max(0, len(keys) - 5)} more. If you know whose it is, pass --source'
        )
    return found[0]
