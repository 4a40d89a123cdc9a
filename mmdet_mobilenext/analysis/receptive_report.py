# SPDX-License-Identifier: Apache-2.0
"""Receptive fields beside the priors that they have to serve: a table and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from mmdet.models.task_modules import AnchorGenerator
from rich.box import SIMPLE
from rich.table import Table

from mmdet_mobilenext.benchmark.page.drawing import MODEL_COLOURS

from .pictures import new_figure
from .receptive_field import EffectiveField, TheoreticalField

__all__ = ['field_figure', 'field_table', 'prior_sizes']


def prior_sizes(generator: AnchorGenerator | None) -> list[tuple[float, float]]:
    """Smallest and largest prior of each level.

    Args:
        generator (AnchorGenerator, optional): Priors of a detector; None gives none.

    Returns:
        list[tuple[float, float]]: Roots of areas in pixels.

    Example:
        >>> prior_sizes(AnchorGenerator(strides=[8], ratios=[1.0], scales=[2.0, 4.0]))
        [(16.0, 32.0)]
    """
    if generator is None or not hasattr(generator, 'base_anchors'):
        return []
    found = []
    for anchors in generator.base_anchors:
        side = (anchors[:, 2:] - anchors[:, :2]).prod(1).sqrt()
        found.append((side.min().item(), side.max().item()))
    return found


def _first_centre(generator: AnchorGenerator, level: int) -> tuple[float, float]:
    """Centre (x, y) of the priors of cell 0."""
    anchors = generator.base_anchors[level]
    x, y = ((anchors[:, :2] + anchors[:, 2:]) / 2).mean(0).tolist()
    return round(x, 3), round(y, 3)


def _level(name: str) -> int | None:
    """The level that a map of the neck or the head is."""
    kind, number = name.rsplit(' ', 1)
    return int(number) if kind in ('level', 'prediction') else None


def field_table(
    fields: Mapping[str, TheoreticalField],
    effective: Mapping[str, EffectiveField],
    generator: AnchorGenerator | None = None,
) -> Table:
    """A row for each map.

    Args:
        fields (Mapping[str, TheoreticalField]): By name of the map.
        effective (Mapping[str, EffectiveField]): By the same names.
        generator (AnchorGenerator, optional): Priors of the levels. Defaults to None.

    Returns:
        Table: For ``rich.print``, pixels of the input.

    Example:
        >>> field_table({'tap 0': TheoreticalField(7, 2, 0.5)}, {}).row_count
        1
    """
    table = Table(
        title='Receptive fields, pixels of the input',
        title_justify='left',
        title_style='bold',
        box=SIMPLE,
    )
    columns = ('stride', 'theoretical', 'effective', 'centre of cell 0')
    prior_columns = ('prior stride', 'prior centre', 'prior sizes')
    sizes = prior_sizes(generator)
    table.add_column('map', no_wrap=True)
    for column in (*columns, *(prior_columns if sizes else ())):
        table.add_column(column, justify='right')
    for name, field in fields.items():
        row = [name, str(field.stride), str(field.size)]
        row.append(f'{effective[name].size:.0f}' if name in effective else '-')
        row.append(f'{field.offset:g}')
        level = _level(name)
        if sizes and level is not None:
            row += [str(generator.strides[level][0]), f'{_first_centre(generator, level)[0]:g}']
            row.append(f'{sizes[level][0]:.0f} to {sizes[level][1]:.0f}')
        table.add_row(*row)
    return table


def field_figure(
    names: Sequence[str],
    fields: Mapping[str, TheoreticalField],
    effective: Mapping[str, EffectiveField],
    generator: AnchorGenerator | None = None,
) -> Figure:
    """Gradient of the middle cell of each map, with frames as large as fields and priors.

    Args:
        names (Sequence[str]): Maps to draw, in order.
        fields (Mapping[str, TheoreticalField]): By name of the map.
        effective (Mapping[str, EffectiveField]): By name of the map.
        generator (AnchorGenerator, optional): Priors of the levels. Defaults to None.

    Returns:
        Figure: A panel for each map.

    Example:
        >>> import torch
        >>> effective = {'tap 0': EffectiveField(torch.ones(8, 8), (2, 2))}
        >>> len(field_figure(['tap 0'], {'tap 0': TheoreticalField(7, 2, 0.5)}, effective).axes)
        1
    """
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    figure = new_figure(3.6 * columns, 3.8 * lines + 0.4)
    sizes = prior_sizes(generator)
    handles = {}
    for index, name in enumerate(names):
        axes = figure.add_subplot(lines, columns, index + 1)
        shown, field = effective[name], fields[name]
        height, width = shown.gradient.shape
        # the root of the gradient: its rim would not be seen
        axes.imshow(
            shown.gradient.sqrt().numpy(),
            cmap='gray_r',
            vmin=0,
            vmax=1,
            extent=(0, width, height, 0),
        )
        row, column = shown.cell
        frames = [
            ('effective field', shown.size, shown.centre, '-'),
            ('theoretical field', field.size, (field.centre(column), field.centre(row)), '-'),
        ]
        level = _level(name)
        if sizes and level is not None:
            stride = generator.strides[level]
            centre = _first_centre(generator, level)
            place = (centre[0] + column * stride[0], centre[1] + row * stride[1])
            frames.append(('smallest prior', sizes[level][0], place, '--'))
            frames.append(('largest prior', sizes[level][1], place, ':'))
        for (label, side, (x, y), style), colour in zip(frames, MODEL_COLOURS, strict=False):
            if side > max(height, width):
                continue  # all of the image
            frame = Rectangle((x - side / 2, y - side / 2), side, side, fill=False, linewidth=1.8)
            frame.set(edgecolor=colour, linestyle=style)
            handles[label] = axes.add_patch(frame)
        axes.set(xlim=(0, width), ylim=(height, 0))
        axes.set_title(f'{name}: effective {shown.size:.0f}, theory {field.size} px', fontsize=10)
        axes.tick_params(labelsize=8)
    figure.legend(handles.values(), handles, loc='outside upper center', ncols=4, frameon=False)
    return figure
