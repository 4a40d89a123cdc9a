# SPDX-License-Identifier: Apache-2.0
"""What part of the image a cell of a feature map sees, in theory and in effect.

Both are read off gradients, so they hold for any network that autograd goes through. Effective
receptive field: Luo et al. 2016, https://arxiv.org/abs/1701.04128, section 3.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm

from mmdet_mobilenext.engine.environment import OptionError
from mmdet_mobilenext.engine.model_checks import dense_head

__all__ = [
    'EffectiveField',
    'TheoreticalField',
    'detector_maps',
    'effective_fields',
    'theoretical_fields',
]

THRESHOLD = 1 - 0.9545
"""Share of the largest gradient from which on a pixel is in the effective field (Luo et al.)."""
LEAST_SIDE, MOST_SIDE = 512, 4096
SCALE = 2.0**80
"""Gradients are scaled up: at the rim of a field they are powers of a third."""


@dataclass(frozen=True)
class TheoreticalField:
    """Receptive field along one axis, in pixels of the input.

    Attributes:
        size (int): Length; the largest of a period.
        stride (int): Distance between the fields of neighbouring cells; the mean where they share a
            cell of a coarser map that was upsampled, as in an FPN.
        offset (float): Centre of the field of cell 0; beyond the border where padding is. In an FPN
            the mean over a full period, the cells that share one of the coarsest map.
    """

    size: int
    stride: int
    offset: float

    def centre(self, cell: int) -> float:
        """Centre of the field of a cell, in pixels."""
        return self.offset + cell * self.stride


@dataclass(frozen=True)
class EffectiveField:
    """Effective receptive field of the middle cell of a feature map.

    Attributes:
        gradient (Tensor): (H, W) float32, mean size of the gradient at each pixel, largest 1.
        cell (tuple[int, int]): Row and column of the cell.
    """

    gradient: Tensor
    cell: tuple[int, int]

    @property
    def size(self) -> float:
        """float: Root of the number of pixels whose gradient is 4.55 % of the largest or more."""
        return math.sqrt((self.gradient >= THRESHOLD).sum().item())

    @property
    def centre(self) -> tuple[float, float]:
        """tuple[float, float]: Mean place (x, y) of these pixels."""
        rows, columns = torch.nonzero(self.gradient >= THRESHOLD, as_tuple=True)
        return columns.float().mean().item() + 0.5, rows.float().mean().item() + 0.5


def detector_maps(model: nn.Module) -> Callable[[Tensor], dict[str, Tensor]]:
    """All feature maps of a detector that are of interest.

    Args:
        model (nn.Module): Detector, or a module that gives one tensor or a tuple of them.

    Returns:
        Callable: From images (N, 3, H, W) to maps (N, C, h, w) by name: ``tap i``, what the
        backbone hands out, ``level i``, what the neck does, and ``prediction i``, the scores of a
        head with priors.

    Example:
        >>> maps = detector_maps(nn.Conv2d(3, 4, 3))
        >>> {name: tuple(value.shape) for name, value in maps(torch.rand(1, 3, 8, 8)).items()}
        {'tap 0': (1, 4, 6, 6)}
    """

    def run(image: Tensor) -> dict[str, Tensor]:
        backbone = getattr(model, 'backbone', model)
        taps = backbone(image)
        taps = (taps,) if isinstance(taps, Tensor) else tuple(taps)
        found = {f'tap {i}': tap for i, tap in enumerate(taps)}
        levels = taps
        if getattr(model, 'with_neck', False):
            levels = model.neck(taps)
            found.update({f'level {i}': level for i, level in enumerate(levels)})
        if hasattr(model, 'backbone'):
            try:
                head = dense_head(model)
            except OptionError:
                return found
            scores = head(tuple(levels))[0]
            found.update({f'prediction {i}': score for i, score in enumerate(scores)})
        return found

    return run


def _averaging(model: nn.Module) -> nn.Module:
    """A copy in which every weight is positive, so that no path cancels another."""
    model = copy.deepcopy(model).float()
    model.eval()  # not in one line: that of mmdet's MobileNetV2 gives nothing back
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.MaxPool2d):  # its gradient has the largest value alone
                average = nn.AvgPool2d(
                    child.kernel_size, child.stride, child.padding, child.ceil_mode
                )
                setattr(parent, name, average)
            elif isinstance(child, (nn.GroupNorm, _InstanceNorm)):  # means over the whole map
                setattr(parent, name, nn.Identity())
    for module in model.modules():
        if isinstance(module, (_ConvNd, nn.Linear)):
            weight = module.weight.data
            weight.fill_(1 / weight[0].numel())
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, _BatchNorm):
            module.running_mean.zero_()
            module.running_var.fill_(1)
            if module.affine:
                module.weight.data.fill_(1)
                module.bias.data.zero_()
    return model


def theoretical_fields(
    maps: Callable[[nn.Module], Callable[[Tensor], dict[str, Tensor]]],
    model: nn.Module,
    axis: int = 1,
    breadth: int = 64,
) -> dict[str, TheoreticalField]:
    """Theoretical receptive fields of all maps, exactly, for a network of any form.

    A copy of the network gets positive weights; then the pixels with a gradient are those that a
    cell sees. Images are long along one axis until no field meets the border, and narrow along the
    other, where zeros beyond the border hide nothing. Group and instance norms, whose means see the
    whole map, are left out.

    Args:
        maps (Callable): From a model to a function of images, such as :func:`detector_maps`.
        model (nn.Module): Network; not changed. Global pooling makes a field as long as the image
            and is an error.
        axis (int): 0 for heights, 1 for widths. Defaults to 1.
        breadth (int): Pixels along the other axis. Defaults to 64.

    Returns:
        dict[str, TheoreticalField]: By name of the map.

    Raises:
        OptionError: If a field reaches the border of an image of 4096 pixels.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, padding=1))
        >>> theoretical_fields(detector_maps, net)
        {'tap 0': TheoreticalField(size=7, stride=2, offset=0.5)}
    """
    run = maps(_averaging(model))
    found: dict[str, TheoreticalField] = {}
    side = LEAST_SIDE
    while side <= MOST_SIDE:
        shape = (breadth, side) if axis else (side, breadth)
        # small, so that no activation is cut off from above
        image = torch.full((1, 3, *shape), 1e-6, requires_grad=True)
        outputs = run(image)
        measured: dict[int, TheoreticalField | None] = {}  # a level may be a tap handed through
        for name, output in outputs.items():
            if name in found:
                continue
            if id(output) not in measured:
                measured[id(output)] = _field(image, output, axis, outputs)
            if measured[id(output)] is not None:
                found[name] = measured[id(output)]
        if len(found) == len(outputs):
            return {name: found[name] for name in outputs}
        side *= 2
    raise OptionError(
        f'the fields of {[name for name in outputs if name not in found]} reach the border '
        f'of an image of {MOST_SIDE} pixels: is there global pooling?'
    )


def _field(
    image: Tensor, output: Tensor, axis: int, outputs: Mapping[str, Tensor]
) -> TheoreticalField | None:
    """Field of the cells in the middle; None if it may be cut off at the border."""
    length, across = output.shape[2 + axis], output.shape[3 - axis] // 2

    def value(cell: int) -> Tensor:
        place = (across, cell) if axis else (cell, across)
        return output[0, :, place[0], place[1]].sum() * SCALE

    # neighbours may share a cell of a coarser map that was upsampled
    others = [other for other in outputs.values() if other.shape[2 + axis] < length]
    seen = (
        torch.autograd.grad(value(length // 2), others, retain_graph=True, allow_unused=True)
        if others
        else ()
    )
    coarsest = min(
        (o.shape[2 + axis] for o, g in zip(others, seen, strict=True) if g is not None),
        default=length,
    )
    period = round(length / coarsest)
    begin = length // 2 - period
    if length < 4 or begin < 1:
        return None
    ends = []
    for cell in range(begin, begin + period + 1):
        (gradient,) = torch.autograd.grad(value(cell), image, retain_graph=True)
        (hit,) = torch.nonzero((gradient[0] != 0).any(0).any(1 - axis), as_tuple=True)
        if not len(hit):
            raise OptionError('a feature map does not depend on the image')
        ends.append((int(hit[0]), int(hit[-1])))
        if ends[-1][0] == 0 or ends[-1][1] == image.shape[2 + axis] - 1:
            return None
    stride = (ends[-1][0] - ends[0][0]) // period
    centres = [
        (first + last + 1) / 2 - cell * stride
        for cell, (first, last) in enumerate(ends[:-1], begin)
    ]
    size = max(last - first + 1 for first, last in ends)
    return TheoreticalField(size, stride, sum(centres) / period)


def effective_fields(
    run: Callable[[Tensor], dict[str, Tensor]],
    size: tuple[int, int],
    images: int = 20,
    seed: int = 0,
) -> dict[str, EffectiveField]:
    """Effective receptive fields of the middle cells of all maps, by gradients of their channels.

    As Luo et al. do it: images are noise, the gradient is 1 or -1 at random in the channels of the
    cell and 0 elsewhere, and its absolute values are averaged over images and colours.

    Args:
        run (Callable): From images to maps by name, see :func:`detector_maps`; with the weights
            that are of interest, in eval mode.
        size (tuple[int, int]): Height and width of the input in pixels.
        images (int): Images. Defaults to 20.
        seed (int): Seed of the noise. Defaults to 0.

    Returns:
        dict[str, EffectiveField]: By name of the map, at the input's size.

    Raises:
        OptionError: If no image is asked for.

    Example:
        >>> field = effective_fields(detector_maps(nn.Conv2d(3, 4, 3)), (9, 9), images=2)['tap 0']
        >>> field.size, field.cell
        (3.0, (3, 3))
    """
    if images < 1:
        raise OptionError(f'the number of images must be 1 or more, but received {images}')
    generator = torch.Generator().manual_seed(seed)
    totals: dict[str, Tensor] = {}
    for _ in range(images):
        image = torch.randn(1, 3, *size, generator=generator).requires_grad_()
        outputs = run(image)
        done: dict[int, str] = {}
        for name, output in outputs.items():
            twin = done.setdefault(id(output), name)
            if twin != name:  # a level that is a tap handed through
                totals[name] = totals[twin]
                continue
            row, column = (side // 2 for side in output.shape[2:])
            signs = torch.randint(0, 2, output.shape[1:2], generator=generator) * 2.0 - 1
            value = (output[0, :, row, column] * signs).sum()
            (gradient,) = torch.autograd.grad(value, image, retain_graph=True)
            totals[name] = totals.get(name, 0) + gradient[0].abs().mean(0)
    return {
        name: EffectiveField(
            total / total.max().clamp(min=torch.finfo().tiny),
            tuple(side // 2 for side in outputs[name].shape[2:]),
        )
        for name, total in totals.items()
    }
