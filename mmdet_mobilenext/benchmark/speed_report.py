# SPDX-License-Identifier: Apache-2.0
"""Tables and files of timings."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import date

import mmcv
import mmdet
import mmengine
import torch
from terminaltables import AsciiTable

from mmdet_mobilenext.engine.atomic_checkpoint_hook import AtomicLocalBackend

from .speed import Timing

__all__ = ['describe_machine', 'format_table', 'write_json']


def describe_machine(threads: int | None = None) -> str:
    """The machine and the software in one line.

    Args:
        threads (int, optional): CPU threads that were used. Defaults to None, those of this
            process.

    Returns:
        str: Processor or GPU, threads, versions and date.
    """
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    else:
        device = f'{platform.machine()} CPU, {os.cpu_count()} cores'
    versions = ', '.join(
        f'{name} {module.__version__}'
        for name, module in (
            ('torch', torch),
            ('mmcv', mmcv),
            ('mmengine', mmengine),
            ('mmdet', mmdet),
        )
    )
    threads = threads or torch.get_num_threads()
    return f'{device}, {threads} threads; {versions}; {date.today().isoformat()}'


def format_table(timings: Sequence[Timing]) -> str:
    """Medians, and ratios to the first candidate and to the one before.

    Args:
        timings (Sequence[Timing]): See :func:`compare`.

    Returns:
        str: Text table.

    Example:
        >>> print(format_table([Timing('a', 'inference', 1, 2.0, 3.0, 20)]))  # doctest: +ELLIPSIS
        +------...
    """
    first = timings[0].name
    rows = [
        ['task', 'batch', 'detector', 'median ms', 'p95 ms', f'/ {first}', '/ previous', 'img/s']
    ]
    base = previous = None
    for timing in timings:
        if timing.name == first:
            base, previous = timing.median_ms, None
        rows.append(
            [
                timing.task,
                str(timing.batch_size),
                timing.name,
                f'{timing.median_ms:.1f}',
                f'{timing.p95_ms:.1f}',
                f'{timing.median_ms / base:.2f}',
                '' if previous is None else f'{timing.median_ms / previous:.2f}',
                f'{1000 * timing.batch_size / timing.median_ms:.1f}',
            ]
        )
        previous = timing.median_ms
    return AsciiTable(rows).table


def write_json(path: str | os.PathLike, machine: str, timings: Sequence[Timing]) -> None:
    """Write the results, in one step at the end.

    Args:
        path (str | PathLike): File to write.
        machine (str): See :func:`describe_machine`.
        timings (Sequence[Timing]): Results.
    """
    results = dict(machine=machine, timings=[t.to_dict() for t in timings])
    AtomicLocalBackend().put_text(json.dumps(results, indent=2) + '\n', path)
