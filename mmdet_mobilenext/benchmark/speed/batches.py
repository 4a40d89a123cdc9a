# SPDX-License-Identifier: Apache-2.0
"""Batches that are made up rather than loaded."""

from __future__ import annotations

import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor
from torch.nn.modules.utils import _pair

__all__ = ['make_batch', 'random_boxes']


def random_boxes(
    num_boxes: int, height: int, width: int, generator: torch.Generator | None = None
) -> Tensor:
    """Boxes of all sizes and places.

    Args:
        num_boxes (int): How many.
        height (int): Height of the image in pixels.
        width (int): Width of the image in pixels.
        generator (torch.Generator, optional): Source of chance.

    Returns:
        Tensor: (num_boxes, 4) float32, xyxy in pixels, each at least 4 pixels wide and high.

    Example:
        >>> boxes = random_boxes(5, 60, 80)
        >>> bool((boxes[:, 2:] - boxes[:, :2] >= 4).all())
        True
    """
    limit = torch.tensor([width, height], dtype=torch.float32)
    first, second = torch.rand(2, num_boxes, 2, generator=generator)
    corner = first * (limit - 4)
    return torch.cat([corner, corner + 4 + second * (limit - 4 - corner)], 1)


def make_batch(
    batch_size: int, input_size: int | tuple[int, int], num_classes: int = 20, num_boxes: int = 3
) -> dict:
    """Random images with random boxes, as a data loader hands them over.

    Args:
        batch_size (int): Images.
        input_size (int | tuple[int, int]): Height and width in pixels.
        num_classes (int): Labels are below it. Defaults to 20.
        num_boxes (int): Boxes in each image. Defaults to 3.

    Returns:
        dict: ``inputs``, list of (3, H, W) uint8, and ``data_samples``.

    Example:
        >>> tuple(make_batch(2, 64)['inputs'][0].shape)
        (3, 64, 64)
    """
    generator = torch.Generator().manual_seed(0)
    shape = tuple(_pair(input_size))
    inputs, samples = [], []
    for _ in range(batch_size):
        image = torch.randint(0, 256, (3, *shape), generator=generator, dtype=torch.uint8)
        sample = DetDataSample(
            metainfo=dict(img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0))
        )
        sample.gt_instances = InstanceData(
            bboxes=random_boxes(num_boxes, *shape, generator=generator),
            labels=torch.randint(0, num_classes, (num_boxes,), generator=generator),
        )
        inputs.append(image)
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)
