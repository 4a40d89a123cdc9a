# SPDX-License-Identifier: Apache-2.0
"""What may stand between two nodes of a cell.

Source: the operations of DARTS (Liu et al., ICLR 2019, section 3.1 and appendix A.1.1,
https://arxiv.org/abs/1806.09055), and the sandglass block, which the paper of MobileNeXt
(https://arxiv.org/abs/2007.02269) adds to them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from mmcv.cnn import ConvModule, build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet_mobilenext.models.sandglass import SandglassBlock

__all__ = [
    'DARTS_OPERATIONS',
    'NONE',
    'OPERATIONS',
    'FactorizedReduce',
    'Zero',
    'build_operation',
    'check_operations',
    'relu_conv_norm',
]

NONE = 'none'
"""The operation that is no connection; never part of what is found."""


def relu_conv_norm(
    in_channels: int, out_channels: int, norm_cfg: dict | None, kernel_size: int = 1, **kwargs: int
) -> ConvModule:
    """A convolution behind a ReLU, as all of DARTS, padded to keep the size.

    Args:
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output.
        norm_cfg (dict, optional): Config of the norm; None builds none.
        kernel_size (int): Odd size. Defaults to 1.
        **kwargs: Other arguments of mmcv's ``ConvModule``.

    Returns:
        ConvModule: ReLU, convolution without bias, norm.

    Example:
        >>> tuple(relu_conv_norm(4, 6, dict(type='BN'))(torch.rand(2, 4, 5, 5)).shape)
        (2, 6, 5, 5)
    """
    return ConvModule(
        in_channels,
        out_channels,
        kernel_size,
        padding=kernel_size // 2 * kwargs.get('dilation', 1),
        bias=False,
        norm_cfg=norm_cfg,
        inplace=False,  # other operations read the same input
        order=('act', 'conv', 'norm'),
        **kwargs,
    )


class Zero(nn.Module):
    """No connection: zeros of the output's shape.

    Args:
        stride (int): 1 or 2. Defaults to 1.

    Example:
        >>> Zero(stride=2)(torch.ones(1, 3, 5, 5)).shape
        torch.Size([1, 3, 3, 3])
    """

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Zeros, (N, C, H / stride, W / stride), for an input (N, C, H, W)."""
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])


class FactorizedReduce(BaseModule):
    """Halve the size and let every pixel count: two strided pointwise convolutions, one of them a
    pixel further, side by side.

    Args:
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output, at least 2.
        norm_cfg (dict): Config of the norm. Defaults to ``dict(type='BN')``.
        init_cfg (dict or list[dict], optional): Initialization config.

    Example:
        >>> tuple(FactorizedReduce(3, 5)(torch.rand(2, 3, 7, 7)).shape)
        (2, 5, 4, 4)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        norm_cfg: dict = dict(type='BN'),
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        half = out_channels // 2
        options = dict(stride=2, bias=False, act_cfg=None)
        self.even = ConvModule(in_channels, half, 1, **options)
        self.odd = ConvModule(in_channels, out_channels - half, 1, **options)
        self.norm = build_norm_layer(norm_cfg, out_channels)[1]

    def forward(self, x: Tensor) -> Tensor:
        """Halve, (N, in_channels, H, W) to (N, out_channels, ceil(H / 2), ceil(W / 2))."""
        x = x.relu()
        # zeros behind the last row and column, so that both halves are of one size
        shifted = nn.functional.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        return self.norm(torch.cat([self.even(x), self.odd(shifted)], 1))


def _pool(pool: nn.Module) -> Callable[..., nn.Module]:
    def build(channels: int, stride: int, norm_cfg: dict, norm_pools: bool) -> nn.Module:
        options = dict(count_include_pad=False) if pool is nn.AvgPool2d else {}
        layer = pool(3, stride, padding=1, **options)
        return (
            nn.Sequential(layer, build_norm_layer(norm_cfg, channels)[1]) if norm_pools else layer
        )

    return build


def _skip(channels: int, stride: int, norm_cfg: dict, norm_pools: bool) -> nn.Module:
    return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, norm_cfg)


def _separable(kernel_size: int, dilation: int, repeats: int) -> Callable[..., nn.Module]:
    def build(channels: int, stride: int, norm_cfg: dict, norm_pools: bool) -> nn.Module:
        layers = []
        for repeat in range(repeats):
            depthwise = relu_conv_norm(
                channels,
                channels,
                None,
                kernel_size,
                stride=stride if repeat == 0 else 1,
                dilation=dilation,
                groups=channels,
            )
            pointwise = ConvModule(
                channels, channels, 1, bias=False, norm_cfg=norm_cfg, act_cfg=None
            )
            layers += [depthwise, pointwise]
        return nn.Sequential(*layers)

    return build


def _sandglass(reduction_ratio: int) -> Callable[..., nn.Module]:
    def build(channels: int, stride: int, norm_cfg: dict, norm_pools: bool) -> nn.Module:
        block = SandglassBlock(channels, channels, stride, reduction_ratio, norm_cfg=norm_cfg)
        hidden = block.pw_reduce.out_channels
        if hidden >= channels:
            raise ValueError(
                f'sandglass_3x3 on {channels} channels is no bottleneck, since its {channels} / '
                f'{reduction_ratio} hidden channels are rounded up to {hidden}: choose a '
                f'base_channels that is a multiple of {reduction_ratio}, such as 12 or 24'
            )
        return block

    return build


OPERATIONS: dict[str, Callable[..., nn.Module]] = {
    NONE: lambda channels, stride, norm_cfg, norm_pools: Zero(stride),
    'max_pool_3x3': _pool(nn.MaxPool2d),
    'avg_pool_3x3': _pool(nn.AvgPool2d),
    'skip_connect': _skip,
    'sep_conv_3x3': _separable(3, dilation=1, repeats=2),
    'sep_conv_5x5': _separable(5, dilation=1, repeats=2),
    'dil_conv_3x3': _separable(3, dilation=2, repeats=1),
    'dil_conv_5x5': _separable(5, dilation=2, repeats=1),
    'sandglass_3x3': _sandglass(reduction_ratio=6),
}
"""Builder of each operation by its name. The names are those of the authors of DARTS."""

DARTS_OPERATIONS: tuple[str, ...] = tuple(name for name in OPERATIONS if 'sandglass' not in name)
"""The eight operations of DARTS."""


def check_operations(names: Sequence[str]) -> None:
    """Raise ValueError unless all names are known, none comes twice and one is a connection.

    Args:
        names (Sequence[str]): Names of operations.

    Raises:
        ValueError: If not; it names the operation.

    Example:
        >>> check_operations(DARTS_OPERATIONS)
        >>> check_operations(['none', 'conv'])
        Traceback (most recent call last):
        ...
        ValueError: there is no operation 'conv': choose from ['none', 'max_pool_3x3', ...
    """
    for name in names:
        if name not in OPERATIONS:
            raise ValueError(f'there is no operation {name!r}: choose from {list(OPERATIONS)}')
    if len(set(names)) != len(names):
        raise ValueError(f'operations must not come twice, but received {list(names)}')
    if not set(names) - {NONE}:
        raise ValueError(f'operations need one beside {NONE!r}, but received {list(names)}')


def build_operation(
    name: str,
    channels: int,
    stride: int = 1,
    norm_cfg: dict = dict(type='BN'),
    norm_pools: bool = False,
) -> nn.Module:
    """Build an operation, which keeps the number of channels.

    Args:
        name (str): One of :data:`OPERATIONS`.
        channels (int): Channels of input and output.
        stride (int): 1 or 2. Defaults to 1.
        norm_cfg (dict): Config of the norms. Defaults to ``dict(type='BN')``.
        norm_pools (bool): Put a norm behind pooling, as the search does, so that no operation is
            larger than another. Defaults to False.

    Returns:
        nn.Module: (N, channels, H, W) to (N, channels, ceil(H / stride), ceil(W / stride)).

    Raises:
        ValueError: If there is no such operation, or ``sandglass_3x3`` would be no bottleneck on so
            many channels.

    Example:
        >>> tuple(build_operation('sandglass_3x3', 12, stride=2)(torch.rand(2, 12, 8, 8)).shape)
        (2, 12, 4, 4)
    """
    check_operations([name] if name != NONE else [name, 'skip_connect'])
    return OPERATIONS[name](channels, stride, norm_cfg, norm_pools)
