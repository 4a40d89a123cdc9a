# SPDX-License-Identifier: Apache-2.0
"""Tables of the weights that there are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Group
from rich.table import Table

from .index import WeightsEntry
from .records import read_json

__all__ = ['list_sources', 'list_weights']


def list_weights(index: Mapping[str, WeightsEntry], folder: str | Path) -> Group:
    """Make a table for each use: a detector, or the backbone of one.

    Args:
        index (Mapping[str, WeightsEntry]): See :func:`read_index`.
        folder (str | Path): Folder of the weights, to tell which are there.

    Returns:
        Group: For ``rich.print``.

    Example:
        >>> list_weights({}, 'weights').renderables
        ['Accuracies are published ones, measured by others. Weights are looked for in weights.']
    """
    folder = Path(folder)
    used_as: dict[str, list[str]] = {}
    for path in sorted(folder.glob('*.json')):
        if path.with_suffix('.pth').is_file():
            used_as.setdefault(str(read_json(path).get('entry')), []).append(path.stem)
    tables: dict[str, Table] = {}
    for entry in index.values():
        use = _use(entry)
        if use not in tables:
            tables[use] = table = Table(
                title=use, title_justify='left', title_style='bold', box=SIMPLE
            )
            width = max(map(len, index))
            table.add_column('name', no_wrap=True, min_width=width)
            table.add_column('acc.', no_wrap=True)
            table.add_column('licence', no_wrap=True)
            for column in ('checked by', 'here'):
                table.add_column(column, overflow='fold')  # on narrow screens too nothing is cut
        value = next(iter(entry.metrics.values()), None)
        tables[use].add_row(
            entry.name,
            'none' if value is None else f'{value:g}',
            entry.license,
            entry.verified_how.removeprefix('trusted on '),
            _here(entry, folder, used_as.get(entry.name, [])),
        )
    note = 'Accuracies are published ones, measured by others. Weights are looked for in '
    return Group(*tables.values(), f'{note}{folder}.')


def list_sources(index: Mapping[str, WeightsEntry]) -> str:
    """Say where the weights are told of; plain text, since tables would cut addresses.

    Args:
        index (Mapping[str, WeightsEntry]): See :func:`read_index`.

    Returns:
        str: Each page, and below it the names of its weights.

    Example:
        >>> list_sources({})
        'Sources:'
    """
    names: dict[str, list[str]] = {}
    for entry in index.values():
        names.setdefault(entry.source, []).append(entry.name)
    return '\n'.join(['Sources:', *(f'{url}\n  {", ".join(n)}' for url, n in names.items())])


def _use(entry: WeightsEntry) -> str:
    """What weights are for, and what their accuracy is."""
    if entry.initialises is not None:
        return f'backbone of {entry.initialises.name}; top-1 on ImageNet, %'
    metric = next(iter(entry.metrics), 'no accuracy')
    by_hand = '; by hand' if entry.manual else ''
    return f'{entry.config.name}; {metric} on {entry.dataset}, %{by_hand}'


def _here(entry: WeightsEntry, folder: Path, names: list[str]) -> str:
    if names:
        return ', '.join('yes' if name == entry.name else f'as {name}' for name in names)
    path = folder / f'{entry.name}.pth'
    if path.is_file() and not path.with_suffix('.json').is_file():
        return 'no record'
    return 'no'
