# SPDX-License-Identifier: Apache-2.0
"""Costs of modules as tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE
from rich.table import Table

from mmdet_mobilenext.engine.environment import OptionError

from .layers import Costs, ModuleCost, PeakMemory

__all__ = ['ORDERS', 'comparison_table', 'cost_table', 'memory_table']

ORDERS = ('model', 'parameters', 'madds', 'saved')
"""Orders of a table; all but the first begin with the largest."""
MB = 10**6
SUM = 'sum'


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify='left', title_style='bold', box=SIMPLE)
    for index, column in enumerate(columns):
        table.add_column(column, justify='right' if index else 'left', no_wrap=index == 0)
    return table


def _share(value: int, total: int) -> str:
    return f'{100 * value / total:.1f} %' if total else '-'


def _million(value: int) -> str:
    return f'{value / MB:,.2f}'


def _sum(costs: Costs) -> ModuleCost:
    return ModuleCost(SUM, '', costs.parameters, costs.madds, costs.saved)


def _madds(row: ModuleCost) -> str:
    # that of the model to the last digit: it is compared with published counts
    return f'{row.madds:,}' if row.name == SUM else _million(row.madds)


def cost_table(
    name: str, costs: Costs, depth: int | None = None, order: str = 'model', top: int | None = None
) -> Table:
    """A row for each module, and their sum, which is the model's.

    Args:
        name (str): Name of the model.
        costs (Costs): Its costs.
        depth (int, optional): See :meth:`Costs.at_depth`. Defaults to None, innermost modules.
        order (str): One of :data:`ORDERS`. Defaults to ``'model'``.
        top (int, optional): Rows; the others are summed up in one. Defaults to None, all.

    Returns:
        Table: For ``rich.print``.

    Raises:
        OptionError: If the order is unknown or a number below 1.

    Example:
        >>> costs = Costs((ModuleCost('a', 'Conv2d', 32, 2400),), 32, 2400, 0, (10, 10))
        >>> cost_table('net', costs).row_count
        2
    """
    if order not in ORDERS:
        raise OptionError(f'the order must be one of {ORDERS}, but received {order!r}')
    for what, number in (('the depth', depth), ('the number of rows', top)):
        if number is not None and number < 1:
            raise OptionError(f'{what} must be 1 or more, but received {number}')
    height, width = costs.size
    table = _table(
        f'{name}, input {width}x{height} (width x height), one image',
        'module',
        'type',
        'output',
        'parameters',
        'share',
        'MAdds, M',
        'share',
        'kept for backward, MB',
    )
    rows = costs.at_depth(depth)
    if order != 'model':
        rows = sorted(rows, key=lambda row: -getattr(row, order))
    if top is not None and len(rows) > top:
        left = rows[top:]
        sums = {key: sum(getattr(row, key) for row in left) for key in ('parameters', 'madds')}
        saved = sum(row.saved for row in left)
        rows = [*rows[:top], ModuleCost(f'({len(left)} more)', **sums, saved=saved)]
    total = _sum(costs)
    for row in [*rows, total]:
        if row is total:
            table.add_section()
        table.add_row(
            row.name,
            row.kind,
            'x'.join(map(str, row.output)),
            f'{row.parameters:,}',
            _share(row.parameters, costs.parameters),
            _madds(row),
            _share(row.madds, costs.madds),
            _million(row.saved),
        )
    return table


def comparison_table(names: Sequence[str], models: Sequence[Costs], depth: int = 2) -> Table:
    """The same modules of two models side by side, by name.

    Args:
        names (Sequence[str]): Names of the two models.
        models (Sequence[Costs]): Their costs.
        depth (int): See :meth:`Costs.at_depth`. Defaults to 2.

    Returns:
        Table: For ``rich.print``; ``-`` where a model has no such module.

    Example:
        >>> costs = Costs((ModuleCost('a', 'Conv2d', 32, 2400),), 32, 2400, 0, (10, 10))
        >>> comparison_table(['x', 'y'], [costs, costs]).row_count
        2
    """
    title = ' and '.join(f'{key} = {name}' for key, name in zip('AB', names, strict=True))
    columns = [f'{what} {key}' for what in ('parameters', 'MAdds, M', 'kept, MB') for key in 'AB']
    table = _table(title, 'module', *columns)
    found = [{row.name: row for row in costs.at_depth(depth)} for costs in models]
    rows = list(dict.fromkeys(name for rows in found for name in rows))
    sums = [_sum(costs) for costs in models]
    for name in [*rows, SUM]:
        if name == SUM:
            table.add_section()
        pair = sums if name == SUM else [rows.get(name) for rows in found]
        table.add_row(
            name,
            *('-' if row is None else f'{row.parameters:,}' for row in pair),
            *('-' if row is None else _madds(row) for row in pair),
            *('-' if row is None else _million(row.saved) for row in pair),
        )
    return table


def memory_table(
    names: Sequence[str], peaks: Sequence[PeakMemory], batches: Sequence[int]
) -> Table:
    """Estimated peaks of memory, models side by side.

    Args:
        names (Sequence[str]): Names of the models.
        peaks (Sequence[PeakMemory]): Their estimates.
        batches (Sequence[int]): Images of a training step of each.

    Returns:
        Table: For ``rich.print``, MB (10**6 bytes).

    Example:
        >>> memory_table(['a'], [PeakMemory(10, 5, 100, 8)], [24]).row_count
        5
    """
    title = 'Estimated peak of tensors, MB (libraries and data loader come on top)'
    table = _table(title, '', *names)
    rows = {
        'weights and buffers': [p.weights for p in peaks],
        'inference, one image, with weights': [p.weights + p.inference for p in peaks],
        'training, activations of one image': [p.training for p in peaks],
        'training, gradients and momentum': [2 * p.gradients for p in peaks],
    }
    steps = [p.of_training(batch) for p, batch in zip(peaks, batches, strict=True)]
    rows[f'training, batch {" and ".join(map(str, dict.fromkeys(batches)))}, all'] = steps
    for name, values in rows.items():
        table.add_row(name, *map(_million, values))
    return table
