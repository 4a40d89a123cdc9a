# SPDX-License-Identifier: Apache-2.0
"""Networks of cells: what the relaxed network and the found one have in common.

Source: Liu et al., DARTS, ICLR 2019, section 2.1 and appendix A.1.1,
https://arxiv.org/abs/1806.09055.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from mmcv.cnn import ConvModule
from torch import Tensor, nn

from mmdet_mobilenext.models.freezable import FreezableBackbone

from .operations import FactorizedReduce, relu_conv_norm

__all__ = ['CellNetwork', 'CellPlace']

STEM_STRIDES = (1, 2, 4, 8)
NUM_STAGES = 3


class CellPlace:
    """Where in a network a cell stands.

    Args:
        index (int): Number of the cell, from 0.
        kind (str): ``'normal'`` or ``'reduce'``.
        channels (int): Channels of each node.
        inputs (tuple[int, int]): Channels of the outputs of the last cell but one and of the last.
        stride (int): Pixels of the image that an element of the input covers.
        behind_reduction (bool): Whether the last cell halved the size, so that the one before it is
            twice as large.
    """

    def __init__(
        self,
        index: int,
        kind: str,
        channels: int,
        inputs: tuple[int, int],
        stride: int,
        behind_reduction: bool,
    ) -> None:
        self.index = index
        self.kind = kind
        self.channels = channels
        self.inputs = inputs
        self.stride = stride
        self.behind_reduction = behind_reduction

    def preprocess(self, norm_cfg: dict) -> tuple[nn.Module, nn.Module]:
        """What brings the two inputs to the cell's channels and to one size.

        Args:
            norm_cfg (dict): Config of the norms.

        Returns:
            tuple[nn.Module, nn.Module]: For the last output but one, and the last.
        """
        before, last = self.inputs
        first = (
            FactorizedReduce(before, self.channels, norm_cfg)
            if self.behind_reduction
            else relu_conv_norm(before, self.channels, norm_cfg)
        )
        return first, relu_conv_norm(last, self.channels, norm_cfg)


class CellNetwork(FreezableBackbone):
    """A stem and cells in three stages, each of which begins with a reduction but the first.

    Stage ``i`` has the stride ``stem_stride * 2 ** i`` and ``num_nodes * base_channels * 2 ** i``
    channels. Nothing behind the last stage that is read is built.

    Args:
        num_nodes (int): Nodes of each cell.
        base_channels (int): Channels of each node in the first stage; a reduction doubles them. A
            multiple of 6, the reduction ratio, suits ``sandglass_3x3``. Defaults to 12.
        num_cells (int): Cells, at least 3; those at a third and at two thirds reduce.
            Defaults to 8.
        stem_stride (int): 1, 2, 4 or 8, by as many strided 3x3 convolutions. Defaults to 1.
        stem_multiplier (int): Channels of the stem as a multiple of ``base_channels``.
            Defaults to 3.
        out_indices (Sequence[int]): Stages to read, 0 to 2, ascending. Defaults to (2,).
        frozen_stages (int): Freeze the stem (0) and the first ``frozen_stages`` stages; -1 freezes
            nothing. Defaults to -1.
        norm_cfg (dict): Config of the norms. Defaults to ``dict(type='BN')``.
        norm_eval (bool): Keep batch norms in eval mode while training. Defaults to False.
        init_cfg (dict or list[dict], optional): Initialization config.

    Raises:
        ValueError: For an argument out of its range.
    """

    def __init__(
        self,
        num_nodes: int,
        base_channels: int = 12,
        num_cells: int = 8,
        stem_stride: int = 1,
        stem_multiplier: int = 3,
        out_indices: Sequence[int] = (NUM_STAGES - 1,),
        frozen_stages: int = -1,
        norm_cfg: dict = dict(type='BN'),
        norm_eval: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        out_indices = tuple(out_indices)
        if num_cells < NUM_STAGES:
            raise ValueError(f'num_cells must be at least {NUM_STAGES}, but received {num_cells}')
        if stem_stride not in STEM_STRIDES:
            raise ValueError(
                f'stem_stride must be one of {STEM_STRIDES}, but received {stem_stride}'
            )
        if not out_indices or sorted(set(out_indices) & {0, 1, 2}) != list(out_indices):
            raise ValueError(
                f'out_indices must be stages of 0 to {NUM_STAGES - 1}, ascending, but received '
                f'{out_indices}'
            )
        if not -1 <= frozen_stages <= NUM_STAGES:
            raise ValueError(
                f'frozen_stages must be -1 to {NUM_STAGES}, but received {frozen_stages}'
            )
        self.num_nodes = num_nodes
        self.base_channels = base_channels
        self.num_cells = num_cells
        self.stem_stride = stem_stride
        self.out_indices = out_indices
        self.frozen_stages = frozen_stages
        self.norm_cfg = norm_cfg
        self.norm_eval = norm_eval

        self.stem = self._make_stem(base_channels * stem_multiplier)
        self.cells = nn.ModuleList(
            self.make_cell(place) for place in self._places(base_channels * stem_multiplier)
        )
        self._freeze_stages()

    @abstractmethod
    def make_cell(self, place: CellPlace) -> nn.Module:
        """Build a cell.

        Args:
            place (CellPlace): Where it stands.

        Returns:
            nn.Module: Called with the outputs of the last cell but one and of the last.
        """

    def _make_stem(self, channels: int) -> nn.Sequential:
        layers, in_channels = [], 3
        for layer in range(max(1, STEM_STRIDES.index(self.stem_stride))):
            layers.append(
                ConvModule(
                    in_channels,
                    channels,
                    3,
                    stride=min(self.stem_stride, 2),
                    padding=1,
                    bias=False,
                    norm_cfg=self.norm_cfg,
                    act_cfg=dict(type='ReLU') if layer else None,
                    inplace=False,
                    order=('act', 'conv', 'norm'),
                )
            )
            in_channels = channels
        return nn.Sequential(*layers)

    def _stage_of(self, cell: int) -> int:
        return (cell >= self.num_cells // 3) + (cell >= 2 * self.num_cells // 3)

    def _places(self, stem_channels: int) -> list[CellPlace]:
        places, inputs, stride = [], (stem_channels, stem_channels), self.stem_stride
        behind_reduction = False
        for index in range(self.num_cells):
            stage = self._stage_of(index)
            if stage > self.out_indices[-1]:
                break
            reduces = index > 0 and stage > self._stage_of(index - 1)
            channels = self.base_channels * 2**stage
            kind = 'reduce' if reduces else 'normal'
            places.append(CellPlace(index, kind, channels, inputs, stride, behind_reduction))
            inputs = (inputs[1], channels * self.num_nodes)
            stride *= 2 if reduces else 1
            behind_reduction = reduces
        return places

    @property
    def feature_info(self) -> list[dict]:
        """list[dict]: For each feature, in order: ``index`` (stage), ``channels``, ``stride``
        (pixels of the input an element covers) and ``module`` (the cell whose result it is).
        """
        last = {self._stage_of(cell): cell for cell in range(len(self.cells))}
        return [
            dict(
                index=index,
                channels=self.num_nodes * self.base_channels * 2**index,
                stride=self.stem_stride * 2**index,
                module=f'cells.{last[index]}',
            )
            for index in self.out_indices
        ]

    def run_cell(self, cell: nn.Module, before: Tensor, last: Tensor) -> Tensor:
        """Run one cell; the relaxed network adds its weights.

        Args:
            cell (nn.Module): One of the cells.
            before (Tensor): Output of the last cell but one, (N, C, H, W).
            last (Tensor): Output of the last cell, (N, C, H, W).

        Returns:
            Tensor: Output of the cell, (N, C, H, W).
        """
        return cell(before, last)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Extract features.

        Args:
            x (Tensor): Images, (N, 3, H, W), float.

        Returns:
            tuple[Tensor]: One feature for each of ``out_indices``, (N, C_i, H / s_i, W / s_i) with
            C_i and s_i from :attr:`feature_info`.
        """
        wanted = {info['module']: info['index'] for info in self.feature_info}
        before = last = self.stem(x)
        features = []
        for index, cell in enumerate(self.cells):
            before, last = last, self.run_cell(cell, before, last)
            if f'cells.{index}' in wanted:
                features.append(last)
        return tuple(features)

    def frozen_layers(self) -> list[nn.Module]:
        """Stem and the cells of the first ``frozen_stages`` stages.

        Returns:
            list[nn.Module]: As far as they are built.
        """
        cells = enumerate(self.cells)
        return [self.stem, *(c for i, c in cells if self._stage_of(i) < self.frozen_stages)]
