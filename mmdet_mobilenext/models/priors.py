# SPDX-License-Identifier: Apache-2.0
"""Prior boxes of SSDLite as the published detectors use them."""

import math
from collections.abc import Sequence

import torch
from mmdet.models.task_modules.prior_generators import SSDAnchorGenerator
from mmdet.registry import TASK_UTILS
from torch import Tensor
from torch.nn.modules.utils import _pair

from .tracing import is_traced

__all__ = ['SSDLitePriorGenerator']


@TASK_UTILS.register_module(force=True)
class SSDLitePriorGenerator(SSDAnchorGenerator):
    """SSD priors, clamped to the image.

    Per location, in this order: a square of the level's min size, a square of
    sqrt(min size * max size), then for every ratio ``r`` the min size as a
    wide (r : 1) and as a tall (1 : r) box. Centres are ``(i + 0.5) * stride``.

    Differs from mmdet's :class:`SSDAnchorGenerator`, which it is built on, in
    that centres, widths and heights are clamped to the image (``clamp`` of
    cx, cy, w, h in 0..1 in the published code: a prior never is larger than
    the image, but may stick out of it), in that the input size is given
    together with explicit sizes, and in that the grids of the last feature map
    sizes are kept, so that a training step does not make them anew.

    Args:
        strides (Sequence[int | tuple[int, int]]): Stride of each level in
            pixels, (w, h) where they differ.
        min_sizes (Sequence[float]): Min size of each level in pixels.
        max_sizes (Sequence[float]): Max size of each level in pixels.
        ratios (Sequence[Sequence[float]]): Aspect ratios of each level.
        input_size (int | tuple[int, int]): Size of the network's input in
            pixels, (w, h) where they differ. Defaults to 320.

    Raises:
        ValueError: If the lists differ in length or a size is not positive;
            from :meth:`check_featmap_sizes`, if feature maps do not fit.

    Example:
        >>> priors = SSDLitePriorGenerator(
        ...     strides=[160, 320], min_sizes=[225, 270], max_sizes=[300, 320],
        ...     ratios=[[2, 3], [2, 3]], input_size=320)
        >>> [tuple(p.shape) for p in priors.grid_priors([(2, 2), (1, 1)], device='cpu')]
        [(24, 4), (6, 4)]
    """

    #: Grids that are kept; a training run with validation needs one or two.
    MAX_GRIDS = 4

    def __init__(
        self,
        strides: Sequence[int | tuple[int, int]],
        min_sizes: Sequence[float],
        max_sizes: Sequence[float],
        ratios: Sequence[Sequence[float]],
        input_size: int | tuple[int, int] = 320,
    ) -> None:
        lengths = dict(
            strides=len(strides),
            min_sizes=len(min_sizes),
            max_sizes=len(max_sizes),
            ratios=len(ratios),
        )
        if len(set(lengths.values())) != 1:
            raise ValueError(f'one entry per level is needed in each list, but received {lengths}')
        self.input_size = _pair(input_size)
        for name, values in (
            ('input_size', self.input_size),
            ('min_sizes', min_sizes),
            ('max_sizes', max_sizes),
        ):
            if min(values) <= 0:
                raise ValueError(f'{name} must be positive, but received {tuple(values)}')
        super().__init__(
            strides=list(strides),
            ratios=list(ratios),
            min_sizes=list(min_sizes),
            max_sizes=list(max_sizes),
            scale_major=False,
        )
        self._grids: dict[tuple, Tensor] = {}

    def __getstate__(self) -> dict:
        """State for pickle and ``copy``: without the grids, which are made again."""
        return {**self.__dict__, '_grids': {}}

    def gen_base_anchors(self) -> list[Tensor]:
        """Priors of one cell of each level, centred on the cell.

        Returns:
            list[Tensor]: (num_base_priors, 4) each, xyxy in pixels.
        """
        limit = torch.tensor(self.input_size, dtype=torch.float32)
        clamped = []
        for anchors in super().gen_base_anchors():
            centres = (anchors[:, :2] + anchors[:, 2:]) / 2
            half = torch.minimum(anchors[:, 2:] - anchors[:, :2], limit) / 2
            clamped.append(torch.cat([centres - half, centres + half], 1))
        return clamped

    def grid_priors(
        self,
        featmap_sizes: Sequence[tuple[int, int]],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = 'cuda',
    ) -> list[Tensor]:
        """Priors of all levels, made once for each size, dtype and device.

        Args:
            featmap_sizes (Sequence[tuple[int, int]]): Height and width of each
                level.
            dtype (torch.dtype): Defaults to ``torch.float32``.
            device (torch.device | str): Defaults to ``'cuda'``, as in mmdet.

        Returns:
            list[Tensor]: (H_i * W_i * num_base_priors[i], 4) for each level,
            xyxy in pixels, ordered by row, column, prior. A copy: it may be
            changed in place.

        Example:
            >>> priors = SSDLitePriorGenerator(
            ...     strides=[160], min_sizes=[225], max_sizes=[300], ratios=[[2]])
            >>> first = priors.grid_priors([(2, 2)], device='cpu')[0]
            >>> first += 1000
            >>> priors.grid_priors([(2, 2)], device='cpu')[0].max().item() < 1000
            True
        """
        if is_traced():
            # The graph must hold the operators, or a constant of its own.
            return super().grid_priors(featmap_sizes, dtype, device)
        sizes = tuple((int(height), int(width)) for height, width in featmap_sizes)
        # 'cuda' is whichever device is current: ask rather than guess.
        shape = (tuple(self.strides), tuple(id(base) for base in self.base_anchors))
        key = (sizes, dtype, torch.empty(0, device=device).device, shape)
        flat = self._grids.get(key)
        if flat is None:
            # A tensor made in inference mode could not be used in training later.
            with torch.inference_mode(False), torch.no_grad():
                flat = torch.cat(super().grid_priors(sizes, dtype, device))
            if type(flat) is Tensor:  # no fake tensor of a tracer
                while len(self._grids) >= self.MAX_GRIDS:
                    self._grids.pop(next(iter(self._grids)))
                self._grids[key] = flat
        lengths = [h * w * n for (h, w), n in zip(sizes, self.num_base_priors, strict=True)]
        return list(flat.clone().split(lengths))

    def single_level_grid_priors(
        self,
        featmap_size: tuple[int, int],
        level_idx: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = 'cuda',
    ) -> Tensor:
        """Priors of one level.

        Args:
            featmap_size (tuple[int, int]): Height and width of the level.
            level_idx (int): Index of the level.
            dtype (torch.dtype): Defaults to ``torch.float32``.
            device (torch.device | str): Defaults to ``'cuda'``, as in mmdet.

        Returns:
            Tensor: (H * W * num_base_priors, 4), xyxy in pixels, ordered by
            row, column, prior.
        """
        priors = super().single_level_grid_priors(featmap_size, level_idx, dtype, device)
        # A last cell may have its centre behind the border (stride 120 at 320
        # pixels and the like): the published code clamps the centre.
        centres = (priors[:, :2] + priors[:, 2:]) / 2
        limit = priors.new_tensor(self.input_size)
        shift = torch.minimum(centres, limit) - centres
        return priors + shift.repeat(1, 2)

    def check_featmap_sizes(
        self, featmap_sizes: Sequence[tuple[int, int]], input_shape: tuple[int, int]
    ) -> None:
        """Check that the levels of a network cover the image as declared.

        Args:
            featmap_sizes (Sequence[tuple[int, int]]): Height and width of each
                level.
            input_shape (tuple[int, int]): Height and width of the input batch
                in pixels.

        Raises:
            ValueError: If the number of levels, the input size or the size of
                a level does not fit what the priors were made for.
        """
        width, height = self.input_size
        if tuple(input_shape) != (height, width):
            raise ValueError(
                f'the priors were made for an input of {width}x{height} (width x height), '
                f'but the batch is {input_shape[1]}x{input_shape[0]}: set the Resize scale of the '
                "pipelines and the prior generator's input_size to the same value"
            )
        if len(featmap_sizes) != self.num_levels:
            raise ValueError(
                f'the priors have {self.num_levels} levels, but the network hands over '
                f'{len(featmap_sizes)}: give strides, min_sizes, max_sizes and ratios one entry '
                'per level'
            )
        for level, (size, stride) in enumerate(zip(featmap_sizes, self.strides, strict=False)):
            expected = (math.ceil(height / stride[1]), math.ceil(width / stride[0]))
            if tuple(size) != expected:
                raise ValueError(
                    f'level {level} is {size[1]}x{size[0]} cells, but stride {stride} on an input '
                    f'of {width}x{height} makes {expected[1]}x{expected[0]}: set its stride near '
                    f'{width / size[1]:g} (width) and {height / size[0]:g} (height)'
                )
