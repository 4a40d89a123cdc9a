# SPDX-License-Identifier: Apache-2.0
"""The sandglass block with what the paper varies as arguments.

Source: Zhou et al., "Rethinking Bottleneck Structure for Efficient Mobile
Network Design", ECCV 2020, section 3 and its ablations,
https://arxiv.org/abs/2007.02269: where depthwise convolutions, activations and
the shortcut are.
"""

from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule, build_activation_layer
from mmdet.registry import MODELS
from torch import Tensor

from .sandglass import (
    add_partial_identity,
    check_block_arguments,
    count_identity_channels,
    sandglass_form,
    sandglass_hidden_channels,
)
from .tapped_block import TappedBlock

__all__ = ['SandglassVariantBlock']

DEPTHWISE = dict(
    both=('dw_in', 'dw_out'),
    first=('dw_in',),
    last=('dw_out',),
    bottleneck=('dw_mid',),
    none=(),
)
"""Depthwise convolutions of each choice."""
ORDER = dict(
    high=('dw_in', 'pw_reduce', 'dw_mid', 'pw_expand', 'dw_out'),
    bottleneck=('pw_expand', 'dw_out', 'dw_in', 'pw_reduce', 'dw_mid'),
)
"""The same ring of layers, cut where the shortcut is."""
FORMS = dict(
    first=('dw_in', 'dw_mid', 'dw_out'),
    widen=(),
    downsample=('dw_out',),
    full=('dw_in', 'dw_mid', 'dw_out'),
    inverted=('dw_in', 'dw_mid', 'dw_out'),
)
"""Depthwise convolutions that each form may have."""


@MODELS.register_module(force=True)
class SandglassVariantBlock(TappedBlock):
    r"""Sandglass block whose depthwise convolutions, activations and shortcut
    are arguments. By default it is :class:`SandglassBlock`, key by key and bit
    by bit.

    The layers are a ring that a network goes round many times::

        dw_in -> pw_reduce -> (dw_mid) -> pw_expand -> dw_out -> (the next block's) dw_in ...
        high dimension     | bottleneck |           high dimension

    ``shortcut`` tells where the ring is cut into blocks. With ``'high'`` a
    block begins and ends at the high dimension and has the forms of
    :class:`SandglassBlock`. With ``'bottleneck'`` it begins and ends at the
    bottleneck, and all blocks have the same form, ``'inverted'``.

    Known blocks are special cases:

    - classical bottleneck (ResNet's, with a depthwise convolution):
      ``depthwise='bottleneck', stride_at='bottleneck',
      activations=('pw_reduce', 'dw_mid', 'sum')``;
    - inverted residual (MobileNetV2, https://arxiv.org/abs/1801.04381):
      ``depthwise='last', shortcut='bottleneck',
      activations=('pw_expand', 'dw_out')``.

    Args:
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the expansion tensor. With
            ``shortcut='high'`` also of the output; with ``'bottleneck'`` the
            output has those of the bottleneck.
        stride (int): 1 or 2. Defaults to 1.
        reduction_ratio (int): The paper's ``t``. Defaults to 6.
        identity_tensor_multiplier (float): Share of the channels, in (0, 1],
            that the shortcut carries. Defaults to 1.0.
        keep_3x3 (bool): Full form although in != out, and no shortcut.
            Defaults to False.
        with_tail (bool): Whether to build what is behind the expansion tensor.
            Defaults to True.
        depthwise (str): ``'both'`` (at the high dimension), ``'first'``
            (``dw_in``), ``'last'`` (``dw_out``), ``'bottleneck'`` (``dw_mid``)
            or ``'none'``. Defaults to ``'both'``.
        activations (Sequence[str], optional): Layers with an activation behind
            their norm, and ``'sum'`` for one behind the shortcut, or behind
            the last layer where there is no shortcut. Defaults to the
            published ones, ``'dw_in'`` if there is one and ``'pw_expand'``.
        shortcut (str): ``'high'`` or ``'bottleneck'``. Defaults to ``'high'``.
        stride_at (str): Where a block with stride 2 has it. ``'high'``: at
            ``dw_out``, which such a block has whatever ``depthwise`` says (a
            pointwise convolution would skip three of four cells), so that the
            expansion tensor stays in front of the stride. ``'bottleneck'``: at
            ``dw_mid``, with ``depthwise='bottleneck'`` alone.
            Defaults to ``'high'``.
        conv_cfg (dict, optional): Config of the convolutions.
        norm_cfg (dict, optional): Config of the norms.
            Defaults to ``dict(type='BN')``.
        act_cfg (dict): Config of the activations.
            Defaults to ``dict(type='ReLU6')``.
        with_cp (bool): Recompute the block in backward to save memory; batch
            norms then update their statistics twice. Defaults to False.
        init_cfg (dict or list[dict], optional): Initialization config.

    Raises:
        ValueError: For an argument out of its range or choices, and for
            activations of layers that the variant does not have.

    Example:
        >>> block = SandglassVariantBlock(
        ...     32, 192, depthwise='last', shortcut='bottleneck',
        ...     activations=('pw_expand', 'dw_out')).eval()
        >>> block.layers, block.out_channels
        (('pw_expand', 'dw_out', 'pw_reduce'), 32)
        >>> tuple(block(torch.rand(1, 32, 8, 8)).shape)
        (1, 32, 8, 8)
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
        depthwise: str = 'both',
        activations: Sequence[str] | None = None,
        shortcut: str = 'high',
        stride_at: str = 'high',
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = dict(type='BN'),
        act_cfg: dict = dict(type='ReLU6'),
        with_cp: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        check_block_arguments(in_channels, stride, reduction_ratio, identity_tensor_multiplier)
        _check_choice('depthwise', depthwise, DEPTHWISE)
        _check_choice('shortcut', shortcut, ORDER)
        _check_choice('stride_at', stride_at, ('high', 'bottleneck'))
        if stride_at == 'bottleneck' and depthwise != 'bottleneck':
            raise ValueError(
                "stride_at='bottleneck' needs depthwise='bottleneck', a layer that can carry the "
                f'stride there, but received depthwise={depthwise!r}'
            )
        activations = _check_activations(activations, depthwise, stride_at)

        self.in_channels = in_channels
        self.expansion_channels = out_channels
        self.stride = stride
        self.with_cp = with_cp
        hidden_channels = sandglass_hidden_channels(in_channels, out_channels, reduction_ratio)
        inverted = shortcut == 'bottleneck'
        self.out_channels = hidden_channels if inverted else out_channels
        self.form = (
            'inverted'
            if inverted
            else sandglass_form(in_channels, out_channels, stride, reduction_ratio, keep_3x3)
        )

        strided = {'high': 'dw_out', 'bottleneck': 'dw_mid'}[stride_at] if stride == 2 else None
        found = {'pw_reduce', 'pw_expand', strided}
        found |= set(DEPTHWISE[depthwise]) & set(FORMS[self.form])
        order = ORDER[shortcut]
        if not with_tail:
            order = order[: order.index('pw_expand') + 1]
        self.layers = tuple(name for name in order if name in found)
        before_expansion = self.layers[: self.layers.index('pw_expand')]
        self.expansion_stride = 2 if strided in before_expansion else 1

        with_identity = (
            with_tail
            and stride == 1
            and not keep_3x3
            and (in_channels == hidden_channels if inverted else self.form == 'full')
        )
        self.identity_channels = (
            count_identity_channels(self.out_channels, identity_tensor_multiplier)
            if with_identity
            else 0
        )

        widths = dict(
            # a block that is cut at the bottleneck has dw_in behind its expansion
            dw_in=(out_channels if inverted else in_channels,) * 2,
            pw_reduce=(out_channels if inverted else in_channels, hidden_channels),
            dw_mid=(hidden_channels,) * 2,
            pw_expand=(in_channels if inverted else hidden_channels, out_channels),
            dw_out=(out_channels,) * 2,
        )
        for name in self.layers:
            spatial = name.startswith('dw')
            layer = ConvModule(
                *widths[name],
                3 if spatial else 1,
                stride=2 if name == strided else 1,
                padding=1 if spatial else 0,
                groups=widths[name][0] if spatial else 1,
                conv_cfg=conv_cfg,
                norm_cfg=norm_cfg,
                act_cfg=act_cfg if name in activations else None,
            )
            self.add_module(name, layer)
        self.last_layer = self.layers[-1]
        self.ends_active = self.last_layer in activations
        self.with_act = 'sum' in activations and with_tail
        if self.with_act:
            self.act = build_activation_layer(act_cfg)
            self.last_layer = 'act'

    def _inner_forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        out = expansion = x
        for name in self.layers:
            out = getattr(self, name)(out)
            if name == 'pw_expand':
                expansion = out
        if self.identity_channels or self.with_act:
            # What follows writes in place: not into the tap, and not into the
            # result of an activation, which its backward reads.
            if out is expansion or (self.ends_active and torch.is_grad_enabled()):
                out = out.clone()
            if self.identity_channels:
                out = add_partial_identity(out, x, self.identity_channels)
            if self.with_act:
                out = self.act(out)
        return out, expansion


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f'{name} must be one of {tuple(choices)}, but received {value!r}')


def _check_activations(
    activations: Sequence[str] | None, depthwise: str, stride_at: str
) -> tuple[str, ...]:
    # dw_out also of blocks with stride 2, which keep it
    there = {'pw_reduce', 'pw_expand', 'sum', *DEPTHWISE[depthwise]}
    if stride_at == 'high':
        there.add('dw_out')
    if activations is None:
        return tuple(name for name in ('dw_in', 'pw_expand') if name in there)
    if isinstance(activations, str) or not set(activations) <= there:
        raise ValueError(
            f'activations must be of {tuple(sorted(there))} with depthwise={depthwise!r}, but '
            f'received {activations!r}'
        )
    return tuple(activations)
