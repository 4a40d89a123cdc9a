# SPDX-License-Identifier: Apache-2.0
"""ReLU6 that keeps one tensor for backward instead of two."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from .tracing import is_traced

__all__ = ['InplaceReLU6']


class _InplaceReLU6(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        F.relu6(x, inplace=True)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> Tensor:
        # The result tells as well as the input where the slope is zero: it is
        # 0 where the input was at most 0, and 6 where it was at least 6.
        (result,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(grad, result, 0.0, 6.0)


@MODELS.register_module(force=True)
class InplaceReLU6(nn.ReLU6):
    """ReLU6 in place, with a backward that reads the result.

    PyTorch's ``ReLU6(inplace=True)`` copies its input while it trains, since
    its backward reads that: in an inverted residual or a sandglass block a
    third of all activations. Here nothing is copied, and the tensor that the
    next convolution keeps anyway serves both. Values and gradients are the
    same, bit by bit.

    Use it where the layer before does not need its own output in backward, as
    a convolution or batch norm. As PyTorch does, it refuses a leaf that needs
    a gradient. Without gradients, in export and with ``inplace=False`` it is
    PyTorch's.

    Args:
        inplace (bool): Defaults to True.

    Example:
        >>> x = torch.tensor([-1.0, 3.0, 8.0], requires_grad=True)
        >>> y = InplaceReLU6()(x * 1)
        >>> y.sum().backward()
        >>> y.tolist(), x.grad.tolist()
        ([0.0, 3.0, 6.0], [0.0, 1.0, 0.0])
    """

    def __init__(self, inplace: bool = True) -> None:
        super().__init__(inplace)

    def forward(self, x: Tensor) -> Tensor:
        """Clamp to 0..6.

        Args:
            x (Tensor): Any shape, modified in place.

        Returns:
            Tensor: ``x``.
        """
        if not (self.inplace and torch.is_grad_enabled() and x.requires_grad) or is_traced():
            return super().forward(x)
        return _InplaceReLU6.apply(x)
