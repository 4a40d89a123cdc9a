# SPDX-License-Identifier: Apache-2.0
"""Batches that workers hand over in few pieces."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import FUNCTIONS
from torch import Tensor
from torch.utils.data import get_worker_info

__all__ = ['light_collate']


class _Pickler(pickle.Pickler):
    """Puts tensors into the message as arrays; PyTorch would write a file of each."""

    def reducer_override(self, content: Any) -> Any:
        if type(content) is Tensor and content.layout is torch.strided:
            return torch.from_numpy, (content.numpy(),)
        return NotImplemented


class _Inline:
    """Something whose tensors are sent within the message; arrives as itself."""

    def __init__(self, content: Any) -> None:
        self.content = content

    def __reduce__(self) -> tuple:
        message = io.BytesIO()
        _Pickler(message, protocol=pickle.HIGHEST_PROTOCOL).dump(self.content)
        return pickle.loads, (message.getvalue(),)


@FUNCTIONS.register_module(force=True)
def light_collate(data_batch: Sequence[dict], _scope_: str | None = None) -> dict:
    """Mmengine's ``pseudo_collate`` for workers, with cheaper data samples.

    A worker hands each tensor over through a piece of shared memory of its
    own, also the boxes and labels of an image, tensors of a few bytes. Here
    data samples are sent within the message, and images through shared memory
    as before. What arrives is the same.

    Args:
        data_batch (Sequence[dict]): What ``PackDetInputs`` gives for each image.
        _scope_ (str, optional): Not used; mmengine hands it over from a config that inherits
            through ``mmdet_mobilenext::``. Defaults to None.

    Returns:
        dict: ``inputs``, list of (3, H, W) tensors, and ``data_samples``, list.

    Example:
        >>> light_collate([dict(inputs=1, data_samples=2), dict(inputs=3, data_samples=4)])
        {'inputs': [1, 3], 'data_samples': [2, 4]}
    """
    batch = pseudo_collate(data_batch)
    if get_worker_info() is not None and 'data_samples' in batch:
        batch['data_samples'] = _Inline(batch['data_samples'])
    return batch
