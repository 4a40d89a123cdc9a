# SPDX-License-Identifier: Apache-2.0
"""Parameters and multiply-adds of a model."""

import torch
import torch.nn as nn
from mmdet.structures import DetDataSample
from torch.utils.flop_counter import FlopCounterMode

__all__ = ['count_madds', 'count_parameters']


def count_parameters(model: nn.Module) -> int:
    """Number of parameters.

    Args:
        model (nn.Module): Any model.

    Returns:
        int: Number of scalars.

    Example:
        >>> count_parameters(nn.Linear(3, 2))
        8
    """
    return sum(p.numel() for p in model.parameters())


def count_madds(model: nn.Module, input_shape: tuple[int, int], in_channels: int = 3) -> int:
    """Multiply-adds of all convolutions and linear layers for one image,
    without norms, activations and biases (the way the papers count).

    The second stage of a two-stage detector is counted for the proposals that it makes of a black
    image, up to ``rpn.max_per_img`` of its ``test_cfg``.

    Args:
        model (nn.Module): A detector (its ``_forward`` is run) or any module.
        input_shape (tuple[int, int]): Height and width in pixels.
        in_channels (int): Channels of the input. Defaults to 3, an image.

    Returns:
        int: Multiply-adds.

    Example:
        >>> count_madds(nn.Conv2d(3, 8, 1), (10, 10))
        2400
    """
    parameter = next(model.parameters(), torch.empty(0))  # a pooling has none
    options = dict(device=parameter.device, dtype=parameter.dtype)
    image = torch.zeros(1, in_channels, *input_shape, **options)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            if hasattr(model, '_forward'):
                model._forward(image, [DetDataSample(metainfo=dict(img_shape=input_shape))])
            else:
                model(image)
    finally:
        model.train(was_training)
    return counter.get_total_flops() // 2
