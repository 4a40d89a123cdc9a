# SPDX-License-Identifier: Apache-2.0
"""Figures of matplotlib as files, without a display."""

from __future__ import annotations

import io
import os
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmdet_mobilenext.benchmark.speed.plot import check_plot_path
from mmdet_mobilenext.engine.atomic_checkpoint_hook import AtomicLocalBackend

__all__ = ['new_figure', 'save_figure']


def new_figure(width: float, height: float) -> Figure:
    """An empty figure.

    Args:
        width (float): Inches.
        height (float): Inches.

    Returns:
        Figure: With a layout that leaves room for labels.

    Example:
        >>> new_figure(4, 3).get_size_inches().tolist()
        [4.0, 3.0]
    """
    figure = Figure(figsize=(width, height), layout='constrained')
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike) -> None:
    """Write a figure, whole or not at all.

    Args:
        figure (Figure): What to write.
        path (str | PathLike): ``.png``, ``.svg`` or ``.pdf`` file.

    Raises:
        BenchmarkError: If its name has no known ending.
        OSError: If it cannot be written.

    Example:
        >>> import os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), 'empty.png')
        >>> save_figure(new_figure(1, 1), path)
        >>> os.path.getsize(path) > 0
        True
    """
    check_plot_path(path)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=Path(path).suffix[1:].lower(), dpi=110)
    AtomicLocalBackend().put(buffer.getvalue(), path)
