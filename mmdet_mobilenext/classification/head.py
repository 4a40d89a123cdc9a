# SPDX-License-Identifier: Apache-2.0
"""The classifier's last layers."""

from __future__ import annotations

from typing import Any

import torch.nn as nn
from mmpretrain.models import LinearClsHead
from mmpretrain.registry import MODELS
from torch import Tensor

__all__ = ['DropoutLinearClsHead']


@MODELS.register_module(force=True)
class DropoutLinearClsHead(LinearClsHead):
    """mmpretrain's ``LinearClsHead`` behind a dropout, as the authors of MobileNeXt built it.

    Its keys are ``fc.weight`` and ``fc.bias``, as in ``LinearClsHead`` and in
    converted ImageNet checkpoints.

    Args:
        num_classes (int): Number of classes.
        in_channels (int): Channels of the pooled feature.
        dropout (float): Chance that a channel is set to zero in training, in
            [0, 1). Defaults to 0.2.
        **kwargs: Other arguments of ``LinearClsHead``, such as ``loss``.

    Raises:
        ValueError: If ``dropout`` is out of its range.

    Example:
        >>> import torch
        >>> from mmdet_mobilenext.classification import DropoutLinearClsHead
        >>> head = DropoutLinearClsHead(num_classes=10, in_channels=1280).eval()
        >>> tuple(head((torch.rand(2, 1280),)).shape)
        (2, 10)
    """

    def __init__(
        self, num_classes: int, in_channels: int, dropout: float = 0.2, **kwargs: Any
    ) -> None:
        super().__init__(num_classes=num_classes, in_channels=in_channels, **kwargs)
        if not 0 <= dropout < 1:
            raise ValueError(f'dropout must be in [0, 1), but received {dropout}')
        self.dropout = nn.Dropout(dropout)

    def pre_logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        """What the linear layer reads.

        Args:
            feats (tuple[Tensor]): Pooled features, each (N, C).

        Returns:
            Tensor: The last one after dropout, (N, in_channels).
        """
        return self.dropout(super().pre_logits(feats))
