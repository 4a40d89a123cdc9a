# SPDX-License-Identifier: Apache-2.0
"""A picture of two cells."""

from __future__ import annotations

import io
import os
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmdet_mobilenext.engine.atomic_checkpoint_hook import AtomicLocalBackend

from .genotype import CELLS, Genotype, Node

__all__ = ['draw_genotype']

FORMATS = ('.png', '.svg', '.pdf')


def draw_genotype(genotype: Genotype, path: str | os.PathLike) -> None:
    """Draw both cells, from their two inputs to their nodes.

    Args:
        genotype (Genotype): The cells.
        path (str | PathLike): File to write, whole or not at all: .png, .svg or .pdf.

    Raises:
        ValueError: If its name has another ending.

    Example:
        >>> import tempfile
        >>> node = (('skip_connect', 0), ('sandglass_3x3', 1))
        >>> path = Path(tempfile.mkdtemp()) / 'cells.png'
        >>> draw_genotype(Genotype((node,), (node,)), path)
        >>> path.stat().st_size > 0
        True
    """
    ending = Path(path).suffix.lower()
    if ending not in FORMATS:
        raise ValueError(f'cells are drawn to a file that ends in one of {FORMATS}, not {path}')
    figure = Figure(figsize=(12, 2 + 1.2 * genotype.num_nodes), layout='constrained')
    FigureCanvasAgg(figure)
    for axes, cell in zip(figure.subplots(1, len(CELLS)), CELLS, strict=True):
        axes.set_title(cell)
        _draw_cell(axes, getattr(genotype, cell))
    buffer = io.BytesIO()
    figure.savefig(buffer, format=ending[1:], dpi=110)
    AtomicLocalBackend().put(buffer.getvalue(), path)


def _draw_cell(axes: Axes, nodes: tuple[Node, ...]) -> None:
    # inputs at the top, nodes below each other, to the left and to the right in turn
    places = [(-1.0, 0.0), (1.0, 0.0)]
    places += [((-1) ** i * 0.5, -1.0 - i) for i in range(len(nodes))]
    labels = ['last but one', 'last', *(f'node {i + 2}' for i in range(len(nodes)))]
    arrow = dict(arrowstyle='->', shrinkA=14, shrinkB=14)
    for target, node in enumerate(nodes, 2):
        for name, state in node:
            (x0, y0), (x1, y1) = places[state], places[target]
            axes.annotate('', (x1, y1), (x0, y0), arrowprops=arrow)
            axes.text(
                (x0 + x1) / 2,
                (y0 + y1) / 2,
                name,
                ha='center',
                va='center',
                fontsize=7,
                bbox=dict(boxstyle='round', facecolor='white', edgecolor='none', pad=0.1),
            )
    for (x, y), label in zip(places, labels, strict=True):
        box = dict(boxstyle='round', facecolor='#dddddd')
        axes.text(x, y, label, ha='center', va='center', fontsize=8, bbox=box)
    axes.set_xlim(-1.6, 1.6)
    axes.set_ylim(-len(nodes) - 0.5, 0.5)
    axes.axis('off')
