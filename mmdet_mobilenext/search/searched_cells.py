# SPDX-License-Identifier: Apache-2.0
"""The backbone that a search has found."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmdet_mobilenext.checkpoints.strict import check_pretrained_init

from .cells import CellNetwork, CellPlace
from .genotype import Genotype, read_genotype
from .operations import build_operation

__all__ = ['SearchedCell', 'SearchedCells']


class SearchedCell(BaseModule):
    """One cell of a genotype.

    Args:
        nodes (Sequence): The nodes of ``Genotype.normal`` or ``Genotype.reduce``.
        place (CellPlace): Where it stands.
        norm_cfg (dict): Config of the norms.
        init_cfg (dict or list[dict], optional): Initialization config.
    """

    def __init__(
        self, nodes: Sequence, place: CellPlace, norm_cfg: dict, init_cfg: dict | None = None
    ) -> None:
        super().__init__(init_cfg)
        self.preprocess = nn.ModuleList(place.preprocess(norm_cfg))
        self.states = [[state for _, state in node] for node in nodes]
        self.nodes = nn.ModuleList(
            nn.ModuleList(
                build_operation(
                    name,
                    place.channels,
                    # only what comes from outside of the cell is still large
                    stride=2 if place.kind == 'reduce' and state < 2 else 1,
                    norm_cfg=norm_cfg,
                )
                for name, state in node
            )
            for node in nodes
        )

    def forward(self, before: Tensor, last: Tensor) -> Tensor:
        """Run the cell.

        Args:
            before (Tensor): Output of the last cell but one, (N, C0, H, W).
            last (Tensor): Output of the last cell, (N, C1, H, W).

        Returns:
            Tensor: All nodes side by side, (N, nodes * channels, H / stride, W / stride).
        """
        states = [layer(x) for layer, x in zip(self.preprocess, (before, last), strict=True)]
        for operations, inputs in zip(self.nodes, self.states, strict=True):
            states.append(
                sum(op(states[state]) for op, state in zip(operations, inputs, strict=True))
            )
        return torch.cat(states[2:], 1)


# registered with mmengine, whose registry those of MMDetection and mmpretrain fall back to
@MODELS.register_module(force=True)
class SearchedCells(CellNetwork):
    """A backbone of searched cells, for detectors and classifiers.

    Source: Liu et al., DARTS, ICLR 2019, https://arxiv.org/abs/1806.09055. Its auxiliary towers and
    its drop path, both of training alone, are left out.

    Args:
        genotype (str | Mapping | Genotype): JSON file that ``tools/search.py`` wrote, or its
            content.
        **kwargs: See :class:`CellNetwork`: ``base_channels``, ``num_cells``, ``stem_stride``,
            ``stem_multiplier``, ``out_indices``, ``frozen_stages``, ``norm_cfg``, ``norm_eval``,
            ``init_cfg``.

    Raises:
        FileNotFoundError: If there is no such file.
        GenotypeError: If it does not describe two cells.
        ValueError: For another argument out of its range.

    Example:
        >>> node = [['sandglass_3x3', 0], ['sep_conv_3x3', 1]]
        >>> net = SearchedCells(
        ...     dict(normal=[node], reduce=[node]), base_channels=12, num_cells=3, stem_stride=8,
        ...     out_indices=(0, 1, 2)).eval()
        >>> for feature in net(torch.rand(1, 3, 64, 64)):
        ...     print(tuple(feature.shape))
        (1, 12, 8, 8)
        (1, 24, 4, 4)
        (1, 48, 2, 2)
    """

    def __init__(self, genotype: str | os.PathLike | Mapping | Genotype, **kwargs: Any) -> None:
        if isinstance(genotype, Mapping):
            genotype = Genotype.from_dict(genotype)
        elif not isinstance(genotype, Genotype):
            genotype = read_genotype(genotype)
        self.genotype = genotype
        super().__init__(genotype.num_nodes, **kwargs)

    def make_cell(self, place: CellPlace) -> SearchedCell:
        """Build a cell.

        Args:
            place (CellPlace): Where it stands.

        Returns:
            SearchedCell: The cell of that kind.
        """
        return SearchedCell(getattr(self.genotype, place.kind), place, self.norm_cfg)

    def init_weights(self) -> None:
        """Initialize the weights; a ``Pretrained`` checkpoint is first checked key by key (mmengine
        alone would only warn).
        """
        if not self.is_init:
            check_pretrained_init(self)
        super().init_weights()
