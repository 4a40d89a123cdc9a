# SPDX-License-Identifier: Apache-2.0
"""What MobileNeXt asks of its blocks."""

from collections.abc import Mapping

import torch.utils.checkpoint as cp
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor

__all__ = ['TappedBlock', 'block_from_cfg']


class TappedBlock(BaseModule):
    """A block that hands out its expansion tensor besides its output.

    A subclass defines ``_inner_forward``, which returns both, and these
    attributes, from which ``MobileNeXt.feature_info`` is made. Its
    arguments are those of :class:`SandglassBlock` and more of its own.

    Attributes:
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output.
        expansion_channels (int): Channels of the expansion tensor.
        expansion_stride (int): Stride of the expansion tensor, relative to
            the input.
        last_layer (str): Submodule whose result is the output, in a block
            without shortcut.
        with_cp (bool): Recompute the block in backward.
    """

    in_channels: int
    out_channels: int
    expansion_channels: int
    expansion_stride: int
    last_layer: str
    with_cp: bool

    def _inner_forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def forward_taps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run the block and hand out both tensors that a detector may read.

        Args:
            x (Tensor): Input, (N, in_channels, H, W).

        Returns:
            tuple[Tensor, Tensor]: The output, (N, out_channels, H / stride,
            W / stride), and the expansion tensor, (N, expansion_channels,
            H / expansion_stride, W / expansion_stride): after the second
            pointwise convolution of a sandglass block, norm and activation,
            before the last depthwise convolution. The same tensor twice where
            the block ends there.
        """
        if self.with_cp and x.requires_grad:
            return cp.checkpoint(self._inner_forward, x, use_reentrant=False)
        return self._inner_forward(x)

    def forward(self, x: Tensor, return_taps: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Run the block.

        Args:
            x (Tensor): Input, (N, in_channels, H, W).
            return_taps (bool): Hand out output and expansion tensor, see
                :meth:`forward_taps`. Defaults to False.

        Returns:
            Tensor | tuple[Tensor, Tensor]: Output, (N, out_channels, H / stride,
            W / stride), with ``return_taps`` also the expansion tensor.
        """
        taps = self.forward_taps(x)
        return taps if return_taps else taps[0]


SET_BY_THE_BACKBONE = (
    'in_channels',
    'out_channels',
    'stride',
    'reduction_ratio',
    'identity_tensor_multiplier',
    'keep_3x3',
    'with_tail',
    'conv_cfg',
    'norm_cfg',
    'act_cfg',
    'with_cp',
)


def block_from_cfg(block_cfg: Mapping) -> tuple[type[TappedBlock], dict]:
    """Class and further arguments of a backbone's blocks.

    Looked up in mmdet's registry whatever the default scope is: classifiers
    are built in that of mmpretrain.

    Args:
        block_cfg (Mapping): ``type`` and arguments that the backbone does not
            set itself.

    Returns:
        tuple[type[TappedBlock], dict]: The class, and its arguments.

    Raises:
        ValueError: If the type is no :class:`TappedBlock`, or the backbone
            sets an argument itself.

    Example:
        >>> block, options = block_from_cfg(
        ...     dict(type='SandglassVariantBlock', depthwise='last'))
        >>> block.__name__, options
        ('SandglassVariantBlock', {'depthwise': 'last'})
    """
    options = dict(block_cfg)
    name = options.pop('type', None)
    block = MODELS.get(name) if isinstance(name, str) else name
    if not (isinstance(block, type) and issubclass(block, TappedBlock)):
        raise ValueError(
            "block_cfg must have the type of a registered block such as 'SandglassBlock' or "
            f"'SandglassVariantBlock', but received {dict(block_cfg)}"
        )
    both = sorted(set(options) & set(SET_BY_THE_BACKBONE))
    if both:
        raise ValueError(
            f'block_cfg must not hold {", ".join(both)}, which the backbone sets from its own '
            f'arguments, but received {dict(block_cfg)}'
        )
    return block, options
