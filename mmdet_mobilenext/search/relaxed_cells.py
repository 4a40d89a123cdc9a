# SPDX-License-Identifier: Apache-2.0
"""The relaxed network: every edge of a cell is all operations at once.

Source: Liu et al., DARTS, ICLR 2019, sections 2.1 and 2.2, https://arxiv.org/abs/1806.09055.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmdet_mobilenext.engine.complexity import count_madds, count_parameters

from .cells import CellNetwork, CellPlace
from .genotype import CELLS, Genotype, decode_cell, num_edges
from .operations import OPERATIONS, Zero, build_operation, check_operations

__all__ = ['COSTS', 'MixedOperation', 'RelaxedCell', 'RelaxedCells']

COSTS = ('madds', 'parameters')
"""What the expected cost of a network may be counted in."""


class MixedOperation(BaseModule):
    """All operations of one edge, weighted (equation 2).

    Args:
        operations (Sequence[str]): Their names.
        channels (int): Channels of input and output.
        stride (int): 1 or 2. Defaults to 1.
        norm_cfg (dict): Config of the norms. Defaults to ``dict(type='BN', affine=False)``: a scale
            of its own would undo the weight of the operation.
        init_cfg (dict or list[dict], optional): Initialization config.

    Example:
        >>> mixed = MixedOperation(['none', 'skip_connect'], channels=1)
        >>> mixed(torch.ones(1, 1, 1, 1), torch.tensor([0.75, 0.25])).item()
        0.25
    """

    def __init__(
        self,
        operations: Sequence[str],
        channels: int,
        stride: int = 1,
        norm_cfg: dict = dict(type='BN', affine=False),
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.operations = nn.ModuleList(
            build_operation(name, channels, stride, norm_cfg, norm_pools=True)
            for name in operations
        )

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """Run all operations.

        Args:
            x (Tensor): Input, (N, C, H, W).
            weights (Tensor): Weight of each operation, (operations,).

        Returns:
            Tensor: Weighted sum, (N, C, H / stride, W / stride).
        """
        return sum(
            weight * operation(x)
            for weight, operation in zip(weights, self.operations, strict=True)
            if not isinstance(operation, Zero)
        )


class RelaxedCell(BaseModule):
    """A cell in which each node reads all states before it, through all operations.

    Args:
        operations (Sequence[str]): Their names.
        num_nodes (int): Nodes.
        place (CellPlace): Where it stands.
        norm_cfg (dict): Config of the norms.
        init_cfg (dict or list[dict], optional): Initialization config.
    """

    def __init__(
        self,
        operations: Sequence[str],
        num_nodes: int,
        place: CellPlace,
        norm_cfg: dict,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.kind = place.kind
        self.num_nodes = num_nodes
        self.preprocess = nn.ModuleList(place.preprocess(norm_cfg))
        self.edges = nn.ModuleList(
            MixedOperation(operations, place.channels, stride, norm_cfg)
            for stride in _edge_strides(place.kind, num_nodes)
        )

    def forward(self, before: Tensor, last: Tensor, weights: Tensor) -> Tensor:
        """Run the cell.

        Args:
            before (Tensor): Output of the last cell but one, (N, C0, H, W).
            last (Tensor): Output of the last cell, (N, C1, H, W).
            weights (Tensor): Weights of the operations, (edges, operations).

        Returns:
            Tensor: All nodes side by side, (N, nodes * channels, H / stride, W / stride).
        """
        states = [layer(x) for layer, x in zip(self.preprocess, (before, last), strict=True)]
        edges = iter(zip(self.edges, weights, strict=True))
        for _ in range(self.num_nodes):
            # the states first: a zip that is exhausted has not taken one edge more
            states.append(
                sum(edge(x, w) for x, (edge, w) in zip(tuple(states), edges, strict=False))
            )
        return torch.cat(states[2:], 1)


def _edge_strides(kind: str, num_nodes: int) -> list[int]:
    """Stride of each edge, in the order of :func:`decode_cell`."""
    return [
        2 if kind == 'reduce' and state < 2 else 1
        for node in range(num_nodes)
        for state in range(node + 2)
    ]


@MODELS.register_module(force=True)
class RelaxedCells(CellNetwork):
    """The backbone of a search.

    All normal cells share one set of weights of the operations, and all reductions another.

    Args:
        operations (Sequence[str]): Names of the operations. Defaults to all: those of DARTS and
            ``sandglass_3x3``.
        num_nodes (int): Nodes of each cell. Defaults to 4.
        norm_cfg (dict): Config of the norms. Defaults to ``dict(type='BN', affine=False)``.
        **kwargs: See :class:`CellNetwork`.

    Attributes:
        alphas (nn.ParameterDict): For ``normal`` and ``reduce``, (edges, operations), before
            softmax.

    Raises:
        ValueError: For an argument out of its range.

    Example:
        >>> net = RelaxedCells(
        ...     ['none', 'sandglass_3x3'], num_nodes=1, base_channels=12, num_cells=3)
        >>> tuple(net(torch.rand(2, 3, 16, 16))[0].shape), tuple(net.alphas['normal'].shape)
        ((2, 48, 4, 4), (2, 2))
        >>> print(net.genotype())
        normal
          node 2 = sandglass_3x3(0) + sandglass_3x3(1)
        reduce
          node 2 = sandglass_3x3(0) + sandglass_3x3(1)
    """

    def __init__(
        self,
        operations: Sequence[str] = tuple(OPERATIONS),
        num_nodes: int = 4,
        norm_cfg: dict = dict(type='BN', affine=False),
        **kwargs: Any,
    ) -> None:
        check_operations(operations)
        if num_nodes < 1:
            raise ValueError(f'num_nodes must be at least 1, but received {num_nodes}')
        self.operations = tuple(operations)
        super().__init__(num_nodes, norm_cfg=norm_cfg, **kwargs)
        if not any(cell.kind == 'reduce' for cell in self.cells):
            raise ValueError(
                f'out_indices={self.out_indices} ends before the first reduction, so nothing would '
                'be learnt of its operations: read stage 1 or 2 as well'
            )
        shape = (num_edges(num_nodes), len(operations))
        # nearly alike, as the authors begin
        self.alphas = nn.ParameterDict(
            {cell: nn.Parameter(1e-3 * torch.randn(shape)) for cell in CELLS}
        )

    def make_cell(self, place: CellPlace) -> RelaxedCell:
        """Build a cell.

        Args:
            place (CellPlace): Where it stands.

        Returns:
            RelaxedCell: The cell.
        """
        return RelaxedCell(self.operations, self.num_nodes, place, self.norm_cfg)

    def run_cell(self, cell: RelaxedCell, before: Tensor, last: Tensor) -> Tensor:
        """Run one cell with the weights of its kind; see :meth:`CellNetwork.run_cell`."""
        return cell(before, last, self.alphas[cell.kind].softmax(-1))

    def genotype(self) -> Genotype:
        """The cells that the present weights stand for.

        Returns:
            Genotype: See :func:`~.genotype.decode_cell`.
        """
        return Genotype(
            *(
                decode_cell(self.alphas[cell].detach().softmax(-1).cpu().numpy(), self.operations)
                for cell in CELLS
            )
        )

    def operation_costs(self, cost: str, input_size: int) -> dict[str, Tensor]:
        """What each operation of each edge costs, summed over all cells of a kind.

        Args:
            cost (str): One of :data:`COSTS`.
            input_size (int): Side of a square image in pixels; parameters do not depend on it.

        Returns:
            dict[str, Tensor]: For ``normal`` and ``reduce``, (edges, operations).

        Raises:
            ValueError: If there is no such cost.

        Example:
            >>> net = RelaxedCells(['none', 'skip_connect'], num_nodes=1, num_cells=3)
            >>> net.operation_costs('madds', 32)['normal'].tolist()
            [[0.0, 0.0], [0.0, 0.0]]
        """
        if cost not in COSTS:
            raise ValueError(f'cost must be one of {COSTS}, but received {cost!r}')
        totals = {cell: torch.zeros_like(self.alphas[cell].detach()) for cell in CELLS}
        for place in self._places(3):
            strides = _edge_strides(place.kind, self.num_nodes)
            size = -(-input_size // place.stride)
            for row, stride, state in zip(
                totals[place.kind], strides, _edge_states(self.num_nodes), strict=True
            ):
                # nodes of a reduction are already half as large
                edge_size = -(-size // 2) if place.kind == 'reduce' and state >= 2 else size
                row += row.new_tensor(
                    [
                        _operation_cost(name, place.channels, stride, edge_size, cost)
                        for name in self.operations
                    ]
                )
        return totals


def _edge_states(num_nodes: int) -> list[int]:
    """State that each edge reads."""
    return [state for node in range(num_nodes) for state in range(node + 2)]


@cache
def _operation_cost(name: str, channels: int, stride: int, size: int, cost: str) -> int:
    # what is counted only once must not move the seed of the weights
    with torch.random.fork_rng(devices=[]):
        operation = build_operation(name, channels, stride, dict(type='BN', affine=False))
    if cost == 'parameters':
        return count_parameters(operation)
    return count_madds(operation, (size, size), in_channels=channels)
