# SPDX-License-Identifier: Apache-2.0
"""Converter for PaddleClas' ImageNet classifiers, MobileNeXt of any width.

Source: https://github.com/PaddlePaddle/PaddleClas,
``ppcls/arch/backbone/model_zoo/mobilenext.py``, and flytocc/MobileNeXt-paddle with the same
network (``.pdparams``). It is the authors' network under their names, with the shortcut over all
channels; PaddlePaddle calls the statistics of a batch norm otherwise, has no counter there, and
stores the matrix of a linear layer as (in, out).
"""

import os
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from mmdet_mobilenext.checkpoints.safe_loading import load_numpy_pickle

from .mobilenext import plan_classifier
from .plan import COUNTER, Plan

__all__ = ['CONTAINERS', 'convert', 'load', 'looks_like']

CONTAINERS = ()
SUFFIXES = dict(running_mean='_mean', running_var='_variance') | {COUNTER: None}

# What `paddle.save` writes beside the weights: python/paddle/framework/io.py and io_utils.py.
NAME_TABLE = 'StructuredToParameterName@@'
SLICES = 'UnpackBigParamInfor@@'


def load(path: str | os.PathLike) -> dict[str, Tensor]:
    """Read the weights that ``paddle.save(layer.state_dict(), path)`` has written.

    Args:
        path (str | PathLike): File to read; nothing in it is run.

    Returns:
        dict[str, Tensor]: Weights under their names, with the dtypes of the file.

    Raises:
        FileNotFoundError: If there is no such file.
        UnsafeCheckpointError: If the file asks for anything but arrays of numbers.
        CheckpointFileError: If it is truncated or damaged.
        ValueError: If it holds something else than weights; the message names it.
    """
    loaded = load_numpy_pickle(path)
    if not isinstance(loaded, dict):
        raise ValueError(f'{path} must hold a dict of weights, but holds a {type(loaded).__name__}')
    if SLICES in loaded:
        raise ValueError(
            f'{path} has {SLICES!r}: a layer of over 1 GiB in slices, which no MobileNeXt has'
        )
    table = loaded.pop(NAME_TABLE, {})
    if not isinstance(table, dict):
        raise ValueError(f'{path}: {NAME_TABLE!r} must be a dict, but is a {type(table).__name__}')
    others = {
        key: f'array of {value.dtype}' if isinstance(value, np.ndarray) else type(value).__name__
        for key, value in loaded.items()
        if not (isinstance(value, np.ndarray) and value.dtype.kind in 'biufc')
    }
    if others:
        raise ValueError(
            f'{path} must hold arrays of numbers, but these entries are none: {others}'
        )
    return {str(key): torch.from_numpy(array) for key, array in loaded.items()}


def looks_like(keys: Iterable[str]) -> bool:
    """Whether keys are this source's.

    Args:
        keys (Iterable[str]): Keys of the weights.

    Returns:
        bool: Whether there are sandglass blocks with PaddlePaddle's batch norms.

    Example:
        >>> looks_like(f'features.{i}.conv.9._mean' for i in range(1, 20))
        True
    """
    own = (k for k in keys if k.startswith('features.'))
    return sum(k.endswith(('.conv.9._mean', '.conv.9._variance')) for k in own) > 8


def convert(state_dict: dict[str, Tensor]) -> Plan:
    """Convert the weights of a classifier.

    The result has ``backbone.*`` and the classifier as ``head.fc.*``, the
    names of an ``ImageClassifier`` of mmpretrain.

    Args:
        state_dict (dict[str, Tensor]): PaddleClas' weights.

    Returns:
        Plan: What becomes of them; its ``info`` has ``widen_factor`` and ``num_classes``.

    Raises:
        ValueError: If the weights are of another network.
    """
    plan = plan_classifier(state_dict, SUFFIXES, class_dim=1)
    plan.transforms['head.fc.weight'] = Tensor.t
    plan.shapes['head.fc.weight'] = tuple(plan.expected['head.fc.weight'].shape[::-1])
    return plan
