# SPDX-License-Identifier: Apache-2.0
"""The sandglass block of MobileNeXt.

Source: Zhou et al., "Rethinking Bottleneck Structure for Efficient Mobile
Network Design", ECCV 2020, section 3, https://arxiv.org/abs/2007.02269.
"""

import math

import torch
from mmcv.cnn import ConvModule
from mmdet.models.utils import make_divisible
from mmdet.registry import MODELS
from torch import Tensor

from .tapped_block import TappedBlock
from .tracing import is_traced

__all__ = [
    'SandglassBlock',
    'add_partial_identity',
    'check_block_arguments',
    'count_identity_channels',
    'sandglass_form',
    'sandglass_hidden_channels',
]

TAPS = ('output', 'expansion')


def sandglass_hidden_channels(in_channels: int, out_channels: int, reduction_ratio: int) -> int:
    """Width of the bottleneck inside a sandglass block.

    Args:
        in_channels (int): Channels that enter the block.
        out_channels (int): Channels that leave the block.
        reduction_ratio (int): The paper's ``t``.

    Returns:
        int: ``in // t``, but never below a sixth of the output width (then
        rounded to a multiple of 16).

    Example:
        >>> sandglass_hidden_channels(144, 192, 6)
        32
    """
    hidden = in_channels // reduction_ratio
    if hidden < out_channels / 6:
        hidden = make_divisible(math.ceil(out_channels / 6), 16)
    return hidden


def sandglass_form(
    in_channels: int, out_channels: int, stride: int, reduction_ratio: int, keep_3x3: bool
) -> str:
    """Which of the four published forms a sandglass block has.

    Args:
        in_channels (int): Channels that enter the block.
        out_channels (int): Channels that leave the block.
        stride (int): 1 or 2.
        reduction_ratio (int): The paper's ``t``.
        keep_3x3 (bool): Full form although in != out.

    Returns:
        str: ``'first'``, ``'widen'``, ``'downsample'`` or ``'full'``, see
        :class:`SandglassBlock`.

    Example:
        >>> sandglass_form(144, 192, 2, 6, False)
        'downsample'
    """
    if reduction_ratio == 2:
        return 'first'
    if in_channels != out_channels and not keep_3x3:
        return 'widen' if stride == 1 else 'downsample'
    return 'full'


def count_identity_channels(channels: int, identity_tensor_multiplier: float) -> int:
    """How many channels a shortcut carries.

    Args:
        channels (int): Channels that leave the block.
        identity_tensor_multiplier (float): Share of them.

    Returns:
        int: Leading channels.

    Example:
        >>> count_identity_channels(576, 1 / 3)
        192
    """
    # The epsilon undoes 1/3 * 576 = 191.99... in binary arithmetic.
    return math.floor(identity_tensor_multiplier * channels + 1e-6)


def add_partial_identity(out: Tensor, identity: Tensor, channels: int) -> Tensor:
    """Add the first ``channels`` channels of ``identity`` to ``out``.

    The sum is written into ``out``, without a tensor for the result, and
    channels that the shortcut does not reach are not touched at all. That is
    safe under autograd because ``out`` comes from a linear projection
    (convolution and norm), whose backward does not read its own output.
    Tracers get the same sum without writes in place, which mobile runtimes
    cannot read; so do views (what a backward hook makes of ``out``) and another
    dtype. A forward hook that keeps ``out`` finds the sum in it later.

    Args:
        out (Tensor): Result of the block's last layer, (N, C, H, W), modified
            in place.
        identity (Tensor): Input of the block, (N, C, H, W).
        channels (int): How many leading channels carry the identity.

    Returns:
        Tensor: The sum, (N, C, H, W).

    Example:
        >>> out = add_partial_identity(torch.zeros(1, 4, 1, 1), torch.ones(1, 4, 1, 1), 2)
        >>> out.flatten().tolist()
        [1.0, 1.0, 0.0, 0.0]
    """
    partial = channels < out.shape[1]
    reached = out[:, :channels] if partial else out
    identity = identity[:, :channels] if partial else identity
    if not (is_traced() or out._is_view() or out.dtype != identity.dtype):
        reached.add_(identity)
        return out
    total = reached + identity
    return torch.cat([total, out[:, channels:]], 1) if partial else total


@MODELS.register_module(force=True)
class SandglassBlock(TappedBlock):
    """Sandglass block (paper, figure 3 (c)): two depthwise convolutions at the
    high dimension around a linear bottleneck, shortcut between high dimensions.

    Four forms were published; :attr:`form` says which one this block is:

    ========== ============================================ ================
    form       when                                         layers
    ========== ============================================ ================
    first      ``reduction_ratio == 2``                     all four
    widen      in != out, stride 1, not ``keep_3x3``        two pointwise
    downsample in != out, stride 2                          without ``dw_in``
    full       everything else, and ``keep_3x3``            all four
    ========== ============================================ ================

    Only the full form has a shortcut, and only without ``keep_3x3``.

    Args:
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output.
        stride (int): Stride of the last depthwise convolution, 1 or 2.
            Defaults to 1.
        reduction_ratio (int): The paper's ``t``. Defaults to 6.
        identity_tensor_multiplier (float): Share of the channels, in (0, 1],
            that the shortcut carries (paper, section 3.3). Defaults to 1.0.
        keep_3x3 (bool): Full form without shortcut although in != out.
            Defaults to False.
        with_tail (bool): Whether to build the last depthwise convolution.
            False ends the block at its expansion tensor, for a network that
            is read there and nowhere further. Defaults to True.
        conv_cfg (dict, optional): Config of the convolutions.
        norm_cfg (dict, optional): Config of the norms.
            Defaults to ``dict(type='BN')``.
        act_cfg (dict): Config of the activations.
            Defaults to ``dict(type='ReLU6')``.
        with_cp (bool): Recompute the block in backward to save memory. As
            with every checkpointed block of mmdet, batch norms then update
            their running statistics twice. Defaults to False.
        init_cfg (dict or list[dict], optional): Initialization config.

    Raises:
        ValueError: For a stride, reduction ratio or identity tensor multiplier
            out of range.

    Example:
        >>> block = SandglassBlock(144, 144, identity_tensor_multiplier=0.5).eval()
        >>> block.form, block.identity_channels
        ('full', 72)
        >>> tuple(block(torch.rand(1, 144, 8, 8)).shape)
        (1, 144, 8, 8)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        reduction_ratio: int = 6,
        identity_tensor_multiplier: float = 1.0,
        keep_3x3: bool = False,
        with_tail: bool = True,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = dict(type='BN'),
        act_cfg: dict = dict(type='ReLU6'),
        with_cp: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        check_block_arguments(in_channels, stride, reduction_ratio, identity_tensor_multiplier)

        self.in_channels = in_channels
        self.out_channels = self.expansion_channels = out_channels
        self.expansion_stride = 1
        self.stride = stride
        self.with_cp = with_cp
        self.form = sandglass_form(in_channels, out_channels, stride, reduction_ratio, keep_3x3)
        hidden_channels = sandglass_hidden_channels(in_channels, out_channels, reduction_ratio)

        self.with_dw_in = self.form in ('first', 'full')
        self.with_dw_out = self.form != 'widen' and with_tail
        self.last_layer = 'dw_out' if self.with_dw_out else 'pw_expand'
        self.identity_channels = (
            count_identity_channels(out_channels, identity_tensor_multiplier)
            if self.form == 'full' and not keep_3x3 and with_tail and stride == 1
            else 0
        )

        layer_cfg = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg)
        if self.with_dw_in:
            # Depthwise, high dimension: spatial information first.
            self.dw_in = ConvModule(
                in_channels,
                in_channels,
                3,
                padding=1,
                groups=in_channels,
                act_cfg=act_cfg,
                **layer_cfg,
            )
        # Pointwise, linear: into the bottleneck.
        self.pw_reduce = ConvModule(in_channels, hidden_channels, 1, act_cfg=None, **layer_cfg)
        # Pointwise, activated: back to the high dimension. Its result is the
        # expansion tensor that SSDLite reads.
        self.pw_expand = ConvModule(hidden_channels, out_channels, 1, act_cfg=act_cfg, **layer_cfg)
        if self.with_dw_out:
            # Depthwise, linear, carries the stride.
            self.dw_out = ConvModule(
                out_channels,
                out_channels,
                3,
                stride=stride,
                padding=1,
                groups=out_channels,
                act_cfg=None,
                **layer_cfg,
            )

    def _inner_forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # Nested, so that in inference each tensor is freed as soon as it was read.
        expansion = self.pw_expand(self.pw_reduce(self.dw_in(x) if self.with_dw_in else x))
        out = self.dw_out(expansion) if self.with_dw_out else expansion
        if self.identity_channels:
            if out is expansion:  # dw_out was replaced by an identity: the tap stays what it is
                out = out.clone()
            out = add_partial_identity(out, x, self.identity_channels)
        return out, expansion


def check_block_arguments(
    in_channels: int, stride: int, reduction_ratio: int, identity_tensor_multiplier: float
) -> None:
    """Raise ValueError for an argument of a block that is out of range.

    Args:
        in_channels (int): Channels that enter the block.
        stride (int): 1 or 2.
        reduction_ratio (int): The paper's ``t``, at most ``in_channels``.
        identity_tensor_multiplier (float): In (0, 1].

    Raises:
        ValueError: Names the argument and the value.

    Example:
        >>> check_block_arguments(144, 1, 6, 0.5)
    """
    if stride not in (1, 2):
        raise ValueError(f'stride must be 1 or 2, but received {stride}')
    if not (isinstance(reduction_ratio, int) and 1 <= reduction_ratio <= in_channels):
        raise ValueError(
            f'reduction_ratio must be an integer in [1, in_channels = {in_channels}], '
            f'but received {reduction_ratio}'
        )
    check_identity_tensor_multiplier(identity_tensor_multiplier)


def check_identity_tensor_multiplier(value: float) -> None:
    """Raise ValueError unless ``0 < value <= 1``.

    Example:
        >>> check_identity_tensor_multiplier(0.5)
    """
    if not 0 < value <= 1:
        raise ValueError(f'identity_tensor_multiplier must be in (0, 1], but received {value}')
