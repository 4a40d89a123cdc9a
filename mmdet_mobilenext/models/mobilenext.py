# SPDX-License-Identifier: Apache-2.0
"""The MobileNeXt backbone.

Source: Zhou et al., "Rethinking Bottleneck Structure for Efficient Mobile
Network Design", ECCV 2020, table 2, https://arxiv.org/abs/2007.02269. The
repeats follow the network that the authors ran: the 960 stage has 3 blocks
(the paper's table prints another number).
"""

from collections.abc import Sequence

import torch.nn as nn
from mmcv.cnn import ConvModule
from mmdet.models.utils import make_divisible
from mmdet.registry import MODELS
from mmengine.utils import is_seq_of
from torch import Tensor

from mmdet_mobilenext.checkpoints.strict import check_pretrained_init

from .freezable import FreezableBackbone
from .sandglass import TAPS, check_identity_tensor_multiplier
from .tapped_block import block_from_cfg

__all__ = ['MobileNeXt']


@MODELS.register_module(force=True)
class MobileNeXt(FreezableBackbone):
    """MobileNeXt, built from sandglass blocks.

    Stages are numbered 0 to 7 in ``out_indices``; stage ``i`` is the attribute
    ``layer{i + 1}``. Every stage offers two tensors, its *taps*:

    - ``'output'``: what the stage hands to the next one. The usual choice for
      FPN and other necks.
    - ``'expansion'``: the tensor inside the stage's **first** block after the
      second pointwise convolution, norm and activation, before the last
      (possibly strided) depthwise convolution. It has the stage's channels at
      the stride of the stage's *input*. SSDLite reads stages 5 and 7 there.

    ===== ======== ====== ============= ================
    index channels blocks output stride expansion stride
    ===== ======== ====== ============= ================
    0     96       1      4             2
    1     144      1      4             4
    2     192      3      8             4
    3     288      3      16            8
    4     384      4      16            16
    5     576      4      32            16
    6     960      3      32            32
    7     1280     1      32            32
    ===== ======== ====== ============= ================

    Nothing behind the last tensor that is read is built, so that every
    parameter gets a gradient (DDP without ``find_unused_parameters``).

    ``block_cfg`` builds the same stages of other blocks, such as those of
    :class:`SandglassVariantBlock`. Where these are cut at the bottleneck, the
    channels in the table are those of ``'expansion'``, and ``'output'`` has
    those of the bottleneck; :attr:`feature_info` tells.

    Args:
        widen_factor (float): Width multiplier, in [0.1, 2]. Defaults to 1.0.
        identity_tensor_multiplier (float): Share of the channels, in (0, 1],
            that the shortcuts carry. Defaults to 1.0.
        out_indices (Sequence[int]): Stages to read, 0 to 7 or negative from
            the end, in ascending order. A stage may stand twice with two taps.
            Defaults to (2, 4, 7).
        taps (str or Sequence[str]): ``'output'`` or ``'expansion'`` for all of
            ``out_indices``, or one for each. Defaults to ``'output'``.
        frozen_stages (int): Freeze the stem (0) and the first
            ``frozen_stages`` stages, up to 8; -1 freezes nothing.
            Defaults to -1.
        conv_cfg (dict, optional): Config of the convolutions.
        norm_cfg (dict): Config of the norms. Defaults to ``dict(type='BN')``.
        act_cfg (dict): Config of the activations.
            Defaults to ``dict(type='ReLU6')``.
        norm_eval (bool): Keep batch norms in eval mode while training.
            Defaults to False.
        with_cp (bool): Recompute blocks in backward to save memory; batch
            norms then update their statistics twice. Defaults to False.
        block_cfg (dict): Type of the blocks, a registered
            :class:`TappedBlock`, and its own arguments.
            Defaults to ``dict(type='SandglassBlock')``.
        init_cfg (dict or list[dict], optional): Initialization config.
            ``Pretrained`` must match key by key. Defaults to the published
            initialization: conv normal(0, sqrt(2 / (k * k * out))), norm 1/0.

    Raises:
        ValueError: For an argument out of its range; the message names the
            value received.
        CheckpointKeyError: From :meth:`init_weights`, if a ``Pretrained``
            checkpoint does not match key by key.

    Example:
        >>> import torch
        >>> net = MobileNeXt(out_indices=(5, 7), taps='expansion').eval()
        >>> for feature in net(torch.rand(1, 3, 64, 64)):
        ...     print(tuple(feature.shape))
        (1, 576, 4, 4)
        (1, 1280, 2, 2)
    """

    # reduction (t), channels (c), blocks (n), stride of the first block (s);
    # resolutions are for a 224x224 input.
    arch_settings = (
        (2, 96, 1, 2),  # stage 0, 112x112 in, 56x56 out
        (6, 144, 1, 1),  # stage 1, 56x56
        (6, 192, 3, 2),  # stage 2, 56x56 in, 28x28 out
        (6, 288, 3, 2),  # stage 3, 28x28 in, 14x14 out
        (6, 384, 4, 1),  # stage 4, 14x14
        (6, 576, 4, 2),  # stage 5, 14x14 in, 7x7 out
        (6, 960, 3, 1),  # stage 6, 7x7
        (6, 1280, 1, 1),  # stage 7, 7x7
    )

    def __init__(
        self,
        widen_factor: float = 1.0,
        identity_tensor_multiplier: float = 1.0,
        out_indices: Sequence[int] = (2, 4, 7),
        taps: str | Sequence[str] = 'output',
        frozen_stages: int = -1,
        conv_cfg: dict | None = None,
        norm_cfg: dict = dict(type='BN'),
        act_cfg: dict = dict(type='ReLU6'),
        norm_eval: bool = False,
        with_cp: bool = False,
        block_cfg: dict = dict(type='SandglassBlock'),
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if init_cfg is None:
            init_cfg = [
                dict(type='Kaiming', layer='Conv2d'),
                dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
            ]
        super().__init__(init_cfg)
        if not 0.1 <= widen_factor <= 2:
            raise ValueError(f'widen_factor must be in [0.1, 2], but received {widen_factor}')
        check_identity_tensor_multiplier(identity_tensor_multiplier)
        self.out_indices = self._check_out_indices(out_indices)
        self.taps = self._check_taps(taps)
        if not isinstance(frozen_stages, int) or not -1 <= frozen_stages <= 8:
            raise ValueError(
                f'frozen_stages must be in [-1, {len(self.arch_settings)}], '
                f'but received {frozen_stages}'
            )
        self.widen_factor = widen_factor
        self.identity_tensor_multiplier = identity_tensor_multiplier
        self.frozen_stages = frozen_stages
        self.conv_cfg = conv_cfg
        self.norm_cfg = norm_cfg
        self.act_cfg = act_cfg
        self.block_cfg = block_cfg
        self.norm_eval = norm_eval
        self.with_cp = with_cp

        self.stage_channels = self._stage_channels(widen_factor)
        stem_channels = make_divisible(32 * widen_factor, self._divisor(widen_factor))
        self.conv1 = ConvModule(
            3,
            stem_channels,
            3,
            stride=2,
            padding=1,
            conv_cfg=conv_cfg,
            norm_cfg=norm_cfg,
            act_cfg=act_cfg,
        )
        self.layers: list[str] = []
        in_channels = stem_channels
        last_stage = max(self.out_indices)
        for index in range(last_stage + 1):
            wanted = {t for i, t in zip(self.out_indices, self.taps, strict=False) if i == index}
            stops_inside = index == last_stage and wanted == {'expansion'}
            name = f'layer{index + 1}'
            self.add_module(name, self._make_stage(index, in_channels, stops_inside))
            self.layers.append(name)
            in_channels = getattr(self, name)[-1].out_channels
        # Now, not at the first `train()`: DDP looks at `requires_grad` when it
        # wraps the model.
        self._freeze_stages()

    # Arguments ------------------------------------------------------------

    def _check_out_indices(self, out_indices: Sequence[int]) -> tuple[int, ...]:
        num_stages = len(self.arch_settings)
        if not is_seq_of(out_indices, int) or len(out_indices) == 0:
            raise ValueError(
                f'out_indices must be a non-empty sequence of int, but received {out_indices!r}'
            )
        if any(not -num_stages <= i < num_stages for i in out_indices):
            raise ValueError(
                f'out_indices must be in [-{num_stages}, {num_stages - 1}], '
                f'but received {tuple(out_indices)}'
            )
        normalised = tuple(i % num_stages for i in out_indices)
        if list(normalised) != sorted(normalised):
            raise ValueError(
                'out_indices must ascend, since features are handed out from shallow to deep, '
                f'but received {tuple(out_indices)}'
            )
        return normalised

    def _check_taps(self, taps: str | Sequence[str]) -> tuple[str, ...]:
        per_index = (taps,) * len(self.out_indices) if isinstance(taps, str) else tuple(taps)
        if len(per_index) != len(self.out_indices):
            raise ValueError(
                f'taps must be one name or one for each of the {len(self.out_indices)} '
                f'out_indices, but received {taps!r}'
            )
        if any(tap not in TAPS for tap in per_index):
            raise ValueError(f'taps must be of {TAPS}, but received {taps!r}')
        pairs = list(zip(self.out_indices, per_index, strict=False))
        if len(set(pairs)) != len(pairs):
            raise ValueError(f'the same tap of a stage is asked for twice: {pairs}')
        return per_index

    @staticmethod
    def _divisor(widen_factor: float) -> int:
        return 4 if widen_factor == 0.1 else 8

    @classmethod
    def _stage_channels(cls, widen_factor: float) -> tuple[int, ...]:
        channels = [
            make_divisible(c * widen_factor, cls._divisor(widen_factor))
            for _, c, _, _ in cls.arch_settings
        ]
        if widen_factor < 1:
            channels[-1] = cls.arch_settings[-1][1]
        return tuple(channels)

    # Layers ---------------------------------------------------------------

    def _make_stage(self, index: int, in_channels: int, stops_inside: bool) -> nn.Sequential:
        reduction_ratio, _, num_blocks, stride = self.arch_settings[index]
        out_channels = self.stage_channels[index]
        keep_3x3 = num_blocks == 1 and stride == 1
        block_type, options = block_from_cfg(self.block_cfg)
        blocks = []
        for block in range(1 if stops_inside else num_blocks):
            blocks.append(
                block_type(
                    in_channels,
                    out_channels,
                    stride=stride if block == 0 else 1,
                    reduction_ratio=reduction_ratio,
                    identity_tensor_multiplier=self.identity_tensor_multiplier,
                    keep_3x3=keep_3x3,
                    with_tail=not stops_inside,
                    conv_cfg=self.conv_cfg,
                    norm_cfg=self.norm_cfg,
                    act_cfg=self.act_cfg,
                    with_cp=self.with_cp,
                    **options,
                )
            )
            in_channels = blocks[-1].out_channels
        return nn.Sequential(*blocks)

    @property
    def feature_info(self) -> list[dict]:
        """list[dict]: For each feature, in order: ``index`` (stage), ``tap``,
        ``channels``, ``stride`` (pixels of the input an element covers) and
        ``module`` (the submodule whose result it is).
        """
        input_stride = 2
        taps = []
        for (_, _, _, stride), name in zip(self.arch_settings, self.layers, strict=False):
            first, last = getattr(self, name)[0], getattr(self, name)[-1]
            taps.append(
                dict(
                    expansion=dict(
                        channels=first.expansion_channels,
                        stride=input_stride * first.expansion_stride,
                        module=f'{name}.0.pw_expand',
                    ),
                    output=dict(
                        channels=last.out_channels,
                        stride=input_stride * stride,
                        # A stage of a single block has no shortcut: the result of
                        # its last layer is the output.
                        module=f'{name}.0.{first.last_layer}'
                        if first is last
                        else f'{name}.{len(getattr(self, name)) - 1}',
                    ),
                )
            )
            input_stride *= stride
        return [
            dict(index=index, tap=tap, **taps[index][tap])
            for index, tap in zip(self.out_indices, self.taps, strict=False)
        ]

    def optional_pretrained_keys(self) -> set[str]:
        """Keys of the whole network that this one does not build, because it
        is not read that far. A checkpoint may hold them.

        Returns:
            set[str]: State-dict keys.
        """
        whole = MobileNeXt(
            widen_factor=self.widen_factor,
            out_indices=(len(self.arch_settings) - 1,),
            conv_cfg=self.conv_cfg,
            norm_cfg=self.norm_cfg,
            act_cfg=self.act_cfg,
            block_cfg=self.block_cfg,
        )
        return set(whole.state_dict()) - set(self.state_dict())

    def init_weights(self) -> None:
        """Initialize the weights; a ``Pretrained`` checkpoint is first checked
        key by key (mmengine alone would only warn).
        """
        if not self.is_init:
            check_pretrained_init(self)
        super().init_weights()

    # Running --------------------------------------------------------------

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Extract features.

        Args:
            x (Tensor): Images, (N, 3, H, W), float.

        Returns:
            tuple[Tensor]: One feature for each of ``out_indices``,
            (N, C_i, H / s_i, W / s_i) with C_i and s_i from
            :attr:`feature_info`.
        """
        wanted = list(zip(self.out_indices, self.taps, strict=False))
        features = {}
        x = self.conv1(x)
        for index, name in enumerate(self.layers):
            first, *others = getattr(self, name)
            # Only what is read is held on to: in inference the rest is freed at once.
            if (index, 'expansion') in wanted:
                x, features[index, 'expansion'] = first(x, return_taps=True)
            else:
                x = first(x)
            for block in others:
                x = block(x)
            if (index, 'output') in wanted:
                features[index, 'output'] = x
        return tuple(features[key] for key in wanted)

    def frozen_layers(self) -> list[nn.Module]:
        """Stem and the first ``frozen_stages`` stages.

        Returns:
            list[nn.Module]: As far as they are built.
        """
        return [self.conv1, *(getattr(self, name) for name in self.layers[: self.frozen_stages])]
