# SPDX-License-Identifier: Apache-2.0
"""Cells as plain data: what a search finds, what a network is built from, and the file between.

Source: Liu et al., DARTS, ICLR 2019, sections 2.1 and 2.4, https://arxiv.org/abs/1806.09055.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmdet_mobilenext.engine.atomic_checkpoint_hook import AtomicLocalBackend

from .operations import NONE, OPERATIONS

__all__ = [
    'CELLS',
    'Genotype',
    'GenotypeError',
    'decode_cell',
    'num_edges',
    'random_genotype',
    'read_genotype',
    'write_genotype',
]

CELLS = ('normal', 'reduce')
"""The two cells of a network: one keeps the size, one halves it."""

INPUTS_PER_NODE = 2
FORMAT = 1

Node = tuple[tuple[str, int], ...]


class GenotypeError(ValueError):
    """Something is not the description of two cells."""


@dataclass(frozen=True)
class Genotype:
    """A normal and a reduction cell.

    A cell reads the outputs of the two cells before it, its states 0 and 1. Each node adds one
    state, the sum of two operations on two different earlier states; the output is all nodes
    side by side.

    Attributes:
        normal (tuple): For each node two pairs of the operation's name and the state it reads.
        reduce (tuple): The same for the cell that halves the size.

    Example:
        >>> node = (('sandglass_3x3', 0), ('skip_connect', 1))
        >>> print(Genotype(normal=(node,), reduce=(node,)))
        normal
          node 2 = sandglass_3x3(0) + skip_connect(1)
        reduce
          node 2 = sandglass_3x3(0) + skip_connect(1)
    """

    normal: tuple[Node, ...]
    reduce: tuple[Node, ...]

    @classmethod
    def from_dict(cls, content: Any, source: str = 'genotype') -> Genotype:
        """Read lists as they stand in a config or a JSON file.

        Args:
            content (Mapping): ``normal`` and ``reduce``; other keys are records and are not read.
            source (str): What an error calls it. Defaults to ``'genotype'``.

        Returns:
            Genotype: The two cells.

        Raises:
            GenotypeError: If it does not describe two cells; it names the node.

        Example:
            >>> Genotype.from_dict(dict(normal=[[['conv', 0], ['skip_connect', 1]]], reduce=[]))
            Traceback (most recent call last):
            ...
            mmdet_mobilenext.search.genotype.GenotypeError: genotype: node 2 of the normal cell ...
        """
        if not isinstance(content, Mapping) or any(cell not in content for cell in CELLS):
            found = sorted(content) if isinstance(content, Mapping) else type(content).__name__
            raise GenotypeError(f'{source}: needs the cells {list(CELLS)}, but has {found}')
        if content.get('format', FORMAT) != FORMAT:
            raise GenotypeError(
                f'{source}: is of format {content["format"]!r}, but this version reads {FORMAT}'
            )
        cells = {cell: _read_cell(content[cell], cell, source) for cell in CELLS}
        if len(cells['normal']) != len(cells['reduce']):
            numbers = {cell: len(nodes) for cell, nodes in cells.items()}
            raise GenotypeError(
                f'{source}: both cells need the same number of nodes, not {numbers}'
            )
        return cls(**cells)

    def to_dict(self) -> dict[str, list]:
        """The lists that :meth:`from_dict` reads.

        Example:
            >>> node = (('skip_connect', 0), ('skip_connect', 1))
            >>> Genotype((node,), (node,)).to_dict()['normal']
            [[['skip_connect', 0], ['skip_connect', 1]]]
        """
        return {
            cell: [[list(edge) for edge in node] for node in getattr(self, cell)] for cell in CELLS
        }

    @property
    def num_nodes(self) -> int:
        """int: Nodes of each cell."""
        return len(self.normal)

    def count(self, operation: str) -> int:
        """How often an operation stands in the two cells.

        Args:
            operation (str): Its name.

        Returns:
            int: Edges.
        """
        nodes = (*self.normal, *self.reduce)
        return sum(name == operation for node in nodes for name, _ in node)

    def __str__(self) -> str:
        lines = []
        for cell in CELLS:
            lines.append(cell)
            for number, node in enumerate(getattr(self, cell), 2):
                terms = ' + '.join(f'{name}({state})' for name, state in node)
                lines.append(f'  node {number} = {terms}')
        return '\n'.join(lines)


def _read_cell(nodes: Any, cell: str, source: str) -> tuple[Node, ...]:
    if not isinstance(nodes, Sequence) or isinstance(nodes, str) or not nodes:
        raise GenotypeError(f'{source}: the {cell} cell must be a list of nodes, but is {nodes!r}')
    read = []
    for number, node in enumerate(nodes, 2):
        where = f'{source}: node {number} of the {cell} cell'
        try:
            edges = tuple((name, state) for name, state in node)
        except (TypeError, ValueError):
            raise GenotypeError(
                f'{where} must be a list of pairs [operation, state], but is {node!r}'
            ) from None
        for name, state in edges:
            if not isinstance(name, str) or name == NONE or name not in OPERATIONS:
                known = [known for known in OPERATIONS if known != NONE]
                raise GenotypeError(f'{where} has the operation {name!r}: choose from {known}')
            if isinstance(state, bool) or not isinstance(state, int) or not 0 <= state < number:
                raise GenotypeError(
                    f'{where} reads the state {state!r}, but must read one of 0 to {number - 1}'
                )
        states = [state for _, state in edges]
        if len(set(states)) != len(states) or len(states) != INPUTS_PER_NODE:
            raise GenotypeError(
                f'{where} reads the states {states}, but must read {INPUTS_PER_NODE} different ones'
            )
        read.append(edges)
    return tuple(read)


def read_genotype(path: str | os.PathLike) -> Genotype:
    """Read a genotype from a JSON file.

    Args:
        path (str | PathLike): File of :func:`write_genotype`.

    Returns:
        Genotype: The two cells.

    Raises:
        FileNotFoundError: If there is no such file.
        GenotypeError: If it is damaged or does not describe two cells.
    """
    path = os.path.expanduser(os.fspath(path))
    if not os.path.isfile(path):
        raise FileNotFoundError(f'no genotype {path!r}: tools/search.py writes one')
    try:
        content = json.loads(Path(path).read_text(encoding='utf-8'))
    except ValueError as error:
        raise GenotypeError(f'{path} is no JSON ({error}): search again, or restore it') from error
    return Genotype.from_dict(content, path)


def write_genotype(genotype: Genotype, path: str | os.PathLike, **origin: Any) -> None:
    """Write a genotype to a JSON file, whole or not at all.

    Args:
        genotype (Genotype): The two cells.
        path (str | PathLike): File to write.
        **origin: What to keep beside them, such as the seed; plain data.

    Example:
        >>> import tempfile
        >>> node = (('skip_connect', 0), ('sandglass_3x3', 1))
        >>> path = Path(tempfile.mkdtemp()) / 'genotype.json'
        >>> write_genotype(Genotype((node,), (node,)), path, seed=0)
        >>> read_genotype(path).normal
        ((('skip_connect', 0), ('sandglass_3x3', 1)),)
    """
    lines = [f'  "format": {FORMAT}']
    for cell, nodes in genotype.to_dict().items():
        rows = ',\n    '.join(json.dumps(node) for node in nodes)
        lines.append(f'  "{cell}": [\n    {rows}\n  ]')
    if origin:
        lines.append(f'  "origin": {json.dumps(origin, allow_nan=False)}')
    AtomicLocalBackend().put_text('{\n' + ',\n'.join(lines) + '\n}\n', os.path.expanduser(path))


def num_edges(num_nodes: int) -> int:
    """Edges of a cell in which each node reads all states before it.

    Args:
        num_nodes (int): Nodes.

    Returns:
        int: ``2 + 3 + ...``, ``num_nodes`` terms.

    Example:
        >>> num_edges(4)
        14
    """
    return sum(range(2, num_nodes + 2))


def decode_cell(weights: np.ndarray, operations: Sequence[str]) -> tuple[Node, ...]:
    """The cell that a relaxed one stands for.

    Each edge takes its strongest operation other than ``none``, and each node its two strongest
    edges, by the weight of that operation (DARTS, section 2.4). Ties go to the first.

    Args:
        weights (np.ndarray): Weights of the operations after softmax, (edges, operations); the
            edges of a node are together, in the order of the states they read.
        operations (Sequence[str]): Name of each column.

    Returns:
        tuple: For each node two pairs of the operation's name and the state it reads, in order of
        the states.

    Raises:
        ValueError: If the shape does not go with the operations or any number of nodes.

    Example:
        >>> decode_cell(np.array([[0.9, 0.1], [0.2, 0.8]]), ['none', 'skip_connect'])
        ((('skip_connect', 0), ('skip_connect', 1)),)
    """
    weights = np.asarray(weights, np.float64)
    columns = [column for column, name in enumerate(operations) if name != NONE]
    if weights.ndim != 2 or weights.shape[1] != len(operations):
        raise ValueError(
            f'weights must be (edges, {len(operations)} operations), but have the shape '
            f'{weights.shape}'
        )
    strength = weights[:, columns]
    nodes, start = [], 0
    while start < len(weights):
        states = len(nodes) + 2
        edges = strength[start : start + states]
        if len(edges) < states:
            raise ValueError(f'no cell has {len(weights)} edges: 2, 5, 9, 14, ... are possible')
        chosen = np.sort(np.argsort(-edges.max(1), kind='stable')[:INPUTS_PER_NODE])
        nodes.append(
            tuple((operations[columns[edges[state].argmax()]], int(state)) for state in chosen)
        )
        start += states
    return tuple(nodes)


def random_genotype(
    rng: np.random.Generator, num_nodes: int, operations: Sequence[str]
) -> Genotype:
    """Draw a genotype from the space that the relaxed cells span, every one alike.

    Args:
        rng (np.random.Generator): Source of chance.
        num_nodes (int): Nodes of each cell.
        operations (Sequence[str]): Operations; ``none`` is not drawn.

    Returns:
        Genotype: Each node reads two different states through any operations.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> random_genotype(rng, 2, ['none', 'skip_connect']).num_nodes
        2
    """
    names = [name for name in operations if name != NONE]

    def node(number: int) -> Node:
        states = np.sort(rng.choice(number, INPUTS_PER_NODE, replace=False))
        return tuple((names[rng.integers(len(names))], int(state)) for state in states)

    return Genotype(*(tuple(node(n + 2) for n in range(num_nodes)) for _ in CELLS))
