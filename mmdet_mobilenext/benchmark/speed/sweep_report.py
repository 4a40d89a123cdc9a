# SPDX-License-Identifier: Apache-2.0
"""Tables and files of a sweep."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from mmdet_mobilenext.engine.atomic_checkpoint_hook import AtomicLocalBackend

from ..folder import write_json
from .exported import RUNTIMES
from .report import describe_machine, ratios, versions
from .timing import Series

__all__ = ['about_sweep', 'markdown_table', 'sweep_markdown', 'sweep_tables', 'write_sweep']


def sweep_tables(found: Mapping[str, Any]) -> list[Table]:
    """Tables of size, of each thing that was timed, and of memory.

    Args:
        found (Mapping): As ``measure_sweep`` returns it.

    Returns:
        list[Table]: To be printed by rich. ``speed`` is how many times as fast as the first
            candidate: the median over the rounds of the ratios within a round.

    Example:
        >>> series = [Series('backbone', 'backbone, eager, batch 1', 'a', 1, [0.5])]
        >>> len(sweep_tables(dict(size=[], series=series, memory=[])))
        2
    """
    size = markdown_table('Size', 'Parameters', 'Multiply-adds', 'of the backbone', 'Input')
    for row in found['size']:
        size.add_row(
            row['name'],
            f'{row["parameters"]:,}',
            f'{row["madds"]:,}',
            f'{row["backbone_madds"]:,}',
            'x'.join(map(str, row['input_size'])),
        )
    tables = [size, *map(_series_table, _groups(found['series']))]
    for batch, rows in groupby(found['memory'], key=lambda row: row['batch']):
        table = markdown_table(
            f'Peak memory of prediction, batch {batch}', 'MB', 'of that, predicting'
        )
        for row in rows:
            if 'error' in row:
                table.add_row(row['name'], 'failed', row['error'].splitlines()[0][:90])
                continue
            table.add_row(row['name'], f'{row["peak_mb"]:.1f}', f'{row["growth_mb"]:.1f}')
        tables.append(table)
    return tables


def _groups(series: Sequence[Series]) -> list[list[Series]]:
    return [list(group) for _, group in groupby(series, key=lambda s: s.measure)]


def _series_table(group: Sequence[Series]) -> Table:
    table = markdown_table(group[0].measure, 'median ms', 'p95 ms', 'images/s', 'speed', 'rounds')
    for one, (ratio, _) in zip(group, ratios(group), strict=True):
        if one.error:
            table.add_row(one.name, 'failed', one.error.splitlines()[0][:90])
            continue
        table.add_row(
            one.name,
            f'{1000 * one.median:.2f}',
            f'{1000 * one.p95:.2f}',
            f'{one.images_per_second:.1f}',
            '' if ratio is None else f'{ratio:.3f}',
            str(len(one.times)),
        )
    return table


def markdown_table(title: str, *columns: str) -> Table:
    """A table whose first column has names, and the others numbers.

    Args:
        title (str): Head of the first column.
        *columns (str): Heads of the others.

    Returns:
        rich.table.Table: Without rows, in GitHub's Markdown.

    Example:
        >>> markdown_table('candidate', 'ms').row_count
        0
    """
    table = Table(box=box.MARKDOWN)
    table.add_column(title, no_wrap=True)
    for name in columns:
        table.add_column(name, justify='right')
    return table


def sweep_markdown(found: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """The tables as a text in GitHub's Markdown.

    Args:
        found (Mapping): As ``measure_sweep`` returns it.
        about (Mapping): ``machine``, ``command`` and ``left_out`` (list of sentences).

    Returns:
        str: Markdown with a newline at the end.

    Example:
        >>> about = dict(machine='a CPU', command='sweep', left_out=[])
        >>> sweep_markdown(dict(size=[], series=[], memory=[]), about).splitlines()[0]
        '# What prediction costs'
    """
    console = Console(file=io.StringIO(), width=300)
    for table in sweep_tables(found):
        console.print(table)
    lines = [line.strip() for line in console.file.getvalue().splitlines()]
    head = ['# What prediction costs', '', f'{about["machine"]}.', '']
    head += ['```bash', about['command'], '```', '']
    head += [line for sentence in about['left_out'] for line in (sentence, '')]
    return re.sub(r'\n{3,}', '\n\n', '\n'.join(head + lines)).rstrip() + '\n'


def write_sweep(
    found: Mapping[str, Any],
    about: Mapping[str, Any],
    json_path: str | None = None,
    markdown_path: str | None = None,
) -> None:
    """Write what was found, each file whole or not at all.

    Args:
        found (Mapping): As ``measure_sweep`` returns it.
        about (Mapping): ``machine``, ``command``, ``left_out`` and ``plan``.
        json_path (str, optional): File for all times.
        markdown_path (str, optional): File for the tables.
    """
    if json_path:
        content = dict(
            format=1,
            **about,
            versions=versions() | _runtime_versions(about['plan']['runtimes']),
            threads=torch.get_num_threads(),
            finished=date.today().isoformat(),
            **{**found, 'series': [s.to_dict() for s in found['series']]},
        )
        write_json(content, Path(json_path))
    if markdown_path:
        AtomicLocalBackend().put_text(sweep_markdown(found, about), markdown_path)


def _runtime_versions(runtimes: Sequence[str]) -> dict[str, str]:
    names = {name for runtime in runtimes for name in RUNTIMES.get(runtime, ())}
    return {name: version(name) for name in sorted(names)}


def about_sweep(
    command: str, plan: Mapping[str, Any], left_out: Sequence[str], threads: int
) -> dict[str, Any]:
    """What a file tells besides the times.

    Args:
        command (str): What was called.
        plan (Mapping): Fields of the ``SweepPlan``.
        left_out (Sequence[str]): Sentences.
        threads (int): CPU threads that were used.

    Returns:
        dict[str, Any]: For :func:`write_sweep`.

    Example:
        >>> about_sweep('sweep', dict(rounds=3), [], 1)['command']
        'sweep'
    """
    return dict(
        command=command,
        machine=describe_machine(threads),
        left_out=list(left_out),
        plan=dict(plan),
    )
