# SPDX-License-Identifier: Apache-2.0
"""Tables and files of what was measured."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import groupby
from typing import Any

import cv2
import mmcv
import mmdet
import mmengine
import numpy as np
import torch
from terminaltables import AsciiTable

from .growth_rows import GrowthRow
from .timing import Series, speed_ratio

__all__ = [
    'describe_machine',
    'growth_tables',
    'loss_shares',
    'memory_table',
    'metric_table',
    'series_tables',
    'time_to_map_table',
    'versions',
]


def versions() -> dict[str, str]:
    """Versions of what the times depend on.

    Returns:
        dict[str, str]: By name.

    Example:
        >>> 'torch' in versions()
        True
    """
    modules = dict(torch=torch, mmcv=mmcv, mmengine=mmengine, mmdet=mmdet, numpy=np, opencv=cv2)
    found = {name: module.__version__ for name, module in modules.items()}
    torchvision = sys.modules.get('torchvision')
    if hasattr(torchvision, '__version__'):
        found['torchvision'] = torchvision.__version__
    return {'python': platform.python_version(), **found}


def describe_machine(threads: int | None = None) -> str:
    """The machine and the software in one line.

    Args:
        threads (int, optional): CPU threads that were used. Defaults to None, those of this
            process.

    Returns:
        str: Processor or GPU, threads, versions and date.

    Example:
        >>> 'torch' in describe_machine()
        True
    """
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    else:
        device = f'{platform.machine()} CPU, {os.cpu_count()} cores'
    names = ('torch', 'mmcv', 'mmengine', 'mmdet')
    found = versions()
    told = ', '.join(f'{name} {found[name]}' for name in names)
    threads = threads or torch.get_num_threads()
    return f'{device}, {threads} threads; {told}; {date.today().isoformat()}'


def ratios(group: Sequence[Series]) -> list[tuple[float | None, float | None]]:
    """Speed of each candidate as a multiple of the first's, and of the previous one's.

    Args:
        group (Sequence[Series]): Timed in the same rounds.

    Returns:
        list[tuple[float | None, float | None]]: None where there is nothing to compare with.

    Example:
        >>> ratios([Series('step', '', 'a', 1, [2.0]), Series('step', '', 'b', 1, [1.0])])
        [(1.0, None), (2.0, 2.0)]
    """
    return [
        (
            speed_ratio(group[0], series),
            speed_ratio(group[place - 1], series) if place else None,
        )
        for place, series in enumerate(group)
    ]


def _ratio(value: float | None) -> str:
    return '' if value is None else f'{value:.2f}'


def series_tables(series: Sequence[Series]) -> list[str]:
    """A table for each thing that was timed.

    Args:
        series (Sequence[Series]): As the tasks return them.

    Returns:
        list[str]: Text tables. ``x first`` is how many times as fast as the first candidate, in
            images/s: the median over the rounds of the ratios within a round.

    Example:
        >>> print(series_tables([Series('step', 'training step', 'a', 8, [0.5])])[0])
        ... # doctest: +ELLIPSIS
        +training step...
    """
    tables = []
    for measure, found in groupby(series, key=lambda s: s.measure):
        group = list(found)
        rows = [['candidate', 'median ms', 'p95 ms', 'images/s', 'x first', 'x previous', 'runs']]
        for one, (first, previous) in zip(group, ratios(group), strict=True):
            if one.error:
                rows.append([one.name, 'failed', one.error.splitlines()[0][:90], '', '', '', ''])
                continue
            rows.append(
                [
                    one.name,
                    f'{1000 * one.median:.1f}',
                    f'{1000 * one.p95:.1f}',
                    f'{one.images_per_second:.1f}',
                    _ratio(first),
                    _ratio(previous),
                    str(len(one.times)),
                ]
            )
        tables.append(AsciiTable(rows, f'{measure} ({group[0].images} images a run)').table)
    return tables


def loss_shares(series: Sequence[Series]) -> dict[str, float]:
    """Share of loss and assignment in the training step of each candidate.

    Args:
        series (Sequence[Series]): With steps and losses of the same rounds.

    Returns:
        dict[str, float]: In 0..1, the median over the rounds; without those that failed.

    Example:
        >>> loss_shares([Series('step', '', 'a', 1, [2.0]), Series('loss', '', 'a', 1, [0.1])])
        {'a': 0.05}
    """
    steps = {s.name: s for s in series if s.task == 'step'}
    return {
        s.name: 1 / ratio
        for s in series
        if s.task == 'loss' and (ratio := speed_ratio(steps.get(s.name), s)) is not None
    }


def memory_table(rows: Sequence[dict[str, Any]]) -> str:
    """Peak memory of each candidate in each phase.

    Args:
        rows (Sequence[dict]): ``name``, ``phase`` and what ``measure_memory`` returns, or
            ``error``.

    Returns:
        str: Text table.

    Example:
        >>> row = dict(name='a', phase='training', process_mb=9.0, total_mb=12.0, processes=2)
        >>> 'training' in memory_table([row])
        True
    """
    table = [
        ['candidate', 'phase', 'process MB', 'with workers MB', 'processes', 'GPU MB', '/ first']
    ]
    first = {}
    for row in rows:
        if row.get('error'):
            table.append([row['name'], row['phase'], 'failed', row['error'][:60], '', '', ''])
            continue
        key = 'gpu_mb' if 'gpu_mb' in row else 'total_mb'
        first.setdefault(row['phase'], row[key])
        table.append(
            [
                row['name'],
                row['phase'],
                f'{row["process_mb"]:.0f}',
                f'{row["total_mb"]:.0f}',
                str(row['processes']),
                f'{row["gpu_mb"]:.0f}' if 'gpu_mb' in row else '',
                f'{row[key] / first[row["phase"]]:.2f}',
            ]
        )
    return AsciiTable(table, 'peak memory, data loader and its workers included').table


def growth_tables(rows: Sequence[GrowthRow]) -> list[str]:
    """A table for each axis.

    Args:
        rows (Sequence[GrowthRow]): As ``measure_growth`` returns them.

    Returns:
        list[str]: Text tables with medians in ms, the fitted exponent (1 is linear) and that of
            the two largest sizes alone.

    Example:
        >>> row = GrowthRow('batch', 'step', 'a', [4, 8], [[0.1], [0.2]])
        >>> '1.00' in growth_tables([row])[0]
        True
    """
    tables = []
    for axis, found in groupby(rows, key=lambda row: row.axis):
        group = list(found)
        points = group[0].points
        head = ['cost', 'candidate', *(f'{axis} {p}: ms' for p in points), 'exponent', 'last two']
        table = [head]
        for row in group:
            cells = [row.cost, row.name]
            if row.error:
                told = 'left out' if row.left_out else 'failed'
                cells += [f'{told}: {row.error.splitlines()[0][:70]}', *[''] * (len(points) + 1)]
            else:
                cells += [f'{1000 * median:.2f}' for median in row.medians]
                cells += [_ratio(row.exponent), _ratio(row.last_exponent)]
            table.append(cells)
        tables.append(AsciiTable(table, f'growth with {axis}, ms for a {group[0].unit}').table)
    return tables


def metric_table(rows: Sequence[tuple[str, float]]) -> str:
    """Time of the metric alone.

    Args:
        rows (Sequence[tuple[str, float]]): Name and median seconds.

    Returns:
        str: Text table.

    Example:
        >>> '0.25' in metric_table([('eval_map', 4.0), ('ours', 1.0)])
        True
    """
    table = [['metric', 'seconds', '/ first']]
    table += [[name, f'{s:.3f}', f'{s / rows[0][1]:.2f}'] for name, s in rows]
    return AsciiTable(table, 'metric alone, 4952 images with 100 boxes each').table


def time_to_map_table(rows: Sequence[dict[str, Any]]) -> str:
    """Training time until a mAP was reached.

    Args:
        rows (Sequence[dict]): As ``time_to_map`` returns them.

    Returns:
        str: Text table.

    Example:
        >>> row = dict(name='a', target=0.2, reached=False, iterations=None, seconds=None,
        ...            best=0.1, trained_seconds=60.0)
        >>> 'not reached' in time_to_map_table([row])
        True
    """
    table = [['training', 'target mAP', 'time', 'iterations', 'best mAP', 'whole training']]
    for row in rows:
        if row.get('error'):
            table.append([row['name'], 'failed', row['error'][:60], '', '', ''])
            continue
        reached = row['reached']
        table.append(
            [
                row['name'],
                f'{row["target"]:g}',
                str(timedelta(seconds=round(row['seconds']))) if reached else 'not reached',
                str(row['iterations']) if reached else '',
                f'{row["best"]:.3f}',
                str(timedelta(seconds=round(row['trained_seconds']))),
            ]
        )
    return AsciiTable(table, 'training time until the first validation at the target').table
