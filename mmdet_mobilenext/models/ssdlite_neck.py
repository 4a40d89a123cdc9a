# SPDX-License-Identifier: Apache-2.0
"""Extra levels of SSDLite, in the two kinds that were published.

Sources: MobileNetV2 section 6.2 (https://arxiv.org/abs/1801.04381) for SSDLite
and its inverted residual levels; the detector of the MobileNeXt authors
(https://github.com/houqb/ssdlite-pytorch-mobilenext) for sandglass levels.
"""

from collections.abc import Sequence

import torch.nn as nn
from mmcv.cnn import ConvModule
from mmdet.models.layers import InvertedResidual
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor

__all__ = ['SSDLiteNeck', 'SandglassExtra']


class SandglassExtra(BaseModule):
    """Extra level of the MobileNeXt detector: halves the map at the high
    dimension, then goes through a linear bottleneck.

    Args:
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output.
        mid_channels (int): Channels of the bottleneck.
        conv_cfg (dict, optional): Config of the convolutions.
        norm_cfg (dict): Config of the norms. Defaults to ``dict(type='BN')``.
        act_cfg (dict): Config of the activations.
            Defaults to ``dict(type='ReLU6')``.
        init_cfg (dict or list[dict], optional): Initialization config.

    Example:
        >>> import torch
        >>> extra = SandglassExtra(32, 16, 8).eval()
        >>> tuple(extra(torch.rand(1, 32, 5, 5)).shape)
        (1, 16, 3, 3)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        mid_channels: int,
        conv_cfg: dict | None = None,
        norm_cfg: dict = dict(type='BN'),
        act_cfg: dict = dict(type='ReLU6'),
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        layer_cfg = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg)
        # Depthwise, stride 2.
        self.dw = ConvModule(
            in_channels,
            in_channels,
            3,
            stride=2,
            padding=1,
            groups=in_channels,
            act_cfg=act_cfg,
            **layer_cfg,
        )
        # Pointwise, linear.
        self.pw_reduce = ConvModule(in_channels, mid_channels, 1, act_cfg=None, **layer_cfg)
        # Pointwise, activated.
        self.pw_expand = ConvModule(mid_channels, out_channels, 1, act_cfg=act_cfg, **layer_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """Make the next level.

        Args:
            x (Tensor): Input, (N, in_channels, H, W).

        Returns:
            Tensor: Output, (N, out_channels, ceil(H / 2), ceil(W / 2)).
        """
        return self.pw_expand(self.pw_reduce(self.dw(x)))


@MODELS.register_module(force=True)
class SSDLiteNeck(BaseModule):
    """Hands backbone features through and adds extra levels, each half the
    size of the one before.

    The first extra level always starts from the **last** input. With
    ``tap_indices`` an input can be kept for that purpose alone: the published
    MobileNeXt detector shows the head the expansion tensor of its last block
    but starts the extra levels from that block's output.

    Args:
        in_channels (Sequence[int]): Channels of the inputs.
        out_channels (Sequence[int]): Channels of all levels: first those of
            the inputs in ``tap_indices``, then the extra levels.
        expand_ratios (Sequence[float]): Bottleneck width of each extra level
            as a share of its *input* channels.
        extra_type (str): ``'sandglass'`` (MobileNeXt) or
            ``'inverted_residual'`` (MobileNetV2).
        tap_indices (Sequence[int], optional): Inputs that become levels.
            Defaults to all of them.
        conv_cfg (dict, optional): Config of the convolutions.
        norm_cfg (dict): Config of the norms. Defaults to ``dict(type='BN')``.
        act_cfg (dict): Config of the activations.
            Defaults to ``dict(type='ReLU6')``.
        init_cfg (dict or list[dict]): Initialization config. Defaults to the
            backbone's: conv normal(0, sqrt(2 / (k * k * out))), norm 1/0.

    Raises:
        ValueError: For lists that do not fit together or an unknown
            ``extra_type``; in training, for a level with a single value per
            channel, which batch norm cannot normalise.

    Example:
        >>> import torch
        >>> neck = SSDLiteNeck((96, 1280), (96, 1280, 512), (0.2,), 'inverted_residual').eval()
        >>> [tuple(f.shape[1:]) for f in neck((torch.rand(1, 96, 4, 4), torch.rand(1, 1280, 2, 2)))]
        [(96, 4, 4), (1280, 2, 2), (512, 1, 1)]
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: Sequence[int],
        expand_ratios: Sequence[float],
        extra_type: str,
        tap_indices: Sequence[int] | None = None,
        conv_cfg: dict | None = None,
        norm_cfg: dict = dict(type='BN'),
        act_cfg: dict = dict(type='ReLU6'),
        init_cfg: dict | list[dict] | None = (
            dict(type='Kaiming', layer='Conv2d'),
            dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
        ),
    ) -> None:
        super().__init__(list(init_cfg) if isinstance(init_cfg, tuple) else init_cfg)
        self.in_channels = tuple(in_channels)
        self.out_channels = tuple(out_channels)
        self.tap_indices = tuple(range(len(in_channels)) if tap_indices is None else tap_indices)
        if any(not 0 <= i < len(in_channels) for i in self.tap_indices):
            raise ValueError(
                f'tap_indices must be in [0, {len(in_channels) - 1}], '
                f'but received {self.tap_indices}'
            )
        tapped = tuple(in_channels[i] for i in self.tap_indices)
        if tapped != self.out_channels[: len(tapped)]:
            raise ValueError(
                f'out_channels must begin with the channels of the inputs handed through, '
                f'{tapped}, but received {self.out_channels}'
            )
        extra_channels = self.out_channels[len(tapped) :]
        if len(extra_channels) != len(expand_ratios):
            raise ValueError(
                f'one expand ratio per extra level is needed ({len(extra_channels)} levels), '
                f'but received {tuple(expand_ratios)}'
            )
        if extra_type not in ('sandglass', 'inverted_residual'):
            raise ValueError(
                "extra_type must be 'sandglass' or 'inverted_residual', but received "
                f'{extra_type!r}'
            )

        layer_cfg = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.extra_layers = nn.ModuleList()
        channels = self.in_channels[-1]
        for level_channels, ratio in zip(extra_channels, expand_ratios, strict=False):
            if extra_type == 'sandglass':
                layer = SandglassExtra(
                    channels, level_channels, max(1, int(channels * ratio)), **layer_cfg
                )
            else:
                layer = InvertedResidual(
                    channels, level_channels, max(1, round(channels * ratio)), stride=2, **layer_cfg
                )
            self.extra_layers.append(layer)
            channels = level_channels

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Make the levels.

        Args:
            inputs (Sequence[Tensor]): Features, (N, in_channels[i], H_i, W_i).

        Returns:
            tuple[Tensor]: Levels, (N, out_channels[i], H_i, W_i).
        """
        if len(inputs) != len(self.in_channels):
            raise ValueError(
                f'the neck was built for {len(self.in_channels)} inputs (in_channels = '
                f'{self.in_channels}), but received {len(inputs)}: fit in_channels to '
                "the backbone's out_indices"
            )
        levels = [inputs[i] for i in self.tap_indices]
        feature = inputs[-1]
        for index, layer in enumerate(self.extra_layers):
            if self.training:
                self._check_batch_norm(layer, feature, index)
            feature = layer(feature)
            levels.append(feature)
        return tuple(levels)

    def _check_batch_norm(self, layer: nn.Module, feature: Tensor, index: int) -> None:
        batch, _, height, width = feature.shape
        if batch * ((height + 1) // 2) * ((width + 1) // 2) > 1:
            return
        if any(type(m) is nn.BatchNorm2d and m.training for m in layer.modules()):
            raise ValueError(
                f'extra level {index} is a single 1x1 cell in a batch of one image, which batch '
                'norm cannot normalise in training: use at least 2 images per batch, a larger '
                'input or fewer extra levels'
            )
