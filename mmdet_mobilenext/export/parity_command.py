# SPDX-License-Identifier: Apache-2.0
"""What ``tools/analysis/export_parity.py`` does with its command line."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from mmdet_mobilenext.benchmark.folder import write_json
from mmdet_mobilenext.benchmark.speed.command_parts import check_writable, wide_console
from mmdet_mobilenext.benchmark.speed.lineup import be_quiet
from mmdet_mobilenext.benchmark.speed.report import describe_machine, versions
from mmdet_mobilenext.checksum import sha256_of
from mmdet_mobilenext.engine.config import load_config
from mmdet_mobilenext.runtime.backends import BACKENDS, split_backend
from mmdet_mobilenext.version import installed_versions

from .errors import ExportError
from .parity import (
    LEAST_SHARE,
    MAX_BOX_DIFFERENCE,
    MAX_METRIC_DIFFERENCE,
    MAX_SCORE_DIFFERENCE,
    Comparison,
    compare_files,
)

__all__ = ['parity_table', 'run', 'verdict']


def parity_table(rows: Sequence[Comparison]) -> Table:
    """What was found, for people.

    Args:
        rows (Sequence[Comparison]): Results.

    Returns:
        rich.table.Table: A row for each file and size of batch.

    Example:
        >>> parity_table([Comparison('a.onnx', 'onnxruntime', 1, 0.05)]).row_count
        1
    """
    table = Table(box=box.MARKDOWN)
    heads = ('backend', 'batch', 'images', 'detections', 'agree %', 'box px', 'score', 'alone')
    table.add_column('File', no_wrap=True)
    for head in (*heads, 'metric', 'PyTorch', 'file', 'difference'):
        table.add_column(head, justify='right')
    for row in rows:
        first = next(iter(row.eager), '')
        table.add_row(
            Path(row.path).name,
            row.backend,
            str(row.batch),
            str(row.images),
            f'{row.detections:,}',
            f'{100 * row.share:.3f}',
            f'{row.max_box_difference:.4f}',
            f'{row.max_score_difference:.1e}',
            f'{row.only_eager} + {row.only_file}',
            first,
            f'{row.eager.get(first, float("nan")):.4f}',
            f'{row.file.get(first, float("nan")):.4f}',
            f'{row.metric_difference:.4f}',
        )
    return table


def verdict(rows: Sequence[Comparison]) -> str:
    """Whether all files find what PyTorch finds, in one line.

    Args:
        rows (Sequence[Comparison]): Results.

    Returns:
        str: Begins with ``'PASS'`` or ``'FAIL'``.

    Example:
        >>> verdict([Comparison('a.onnx', 'onnxruntime', 1, 0.05, images=9)])
        'FAIL: a.onnx (onnxruntime, batch 1) has no detections above 0.05 to compare'
    """
    limits = (
        f'{100 * LEAST_SHARE:g} % of the detections within {MAX_BOX_DIFFERENCE:g} px and '
        f'{MAX_SCORE_DIFFERENCE:g} of score, metrics within {MAX_METRIC_DIFFERENCE:g}'
    )
    bad = []
    for row in rows:
        name = f'{Path(row.path).name} ({row.backend}, batch {row.batch})'
        if not row.detections:
            bad.append(f'{name} has no detections above {row.score_thr:g} to compare')
        elif not row.passes:
            bad.append(
                f'{name}: {100 * row.share:.3f} % agree, metrics differ by '
                f'{row.metric_difference:.4f}'
            )
    if not bad:
        return f'PASS: {len(rows)} of {len(rows)} comparisons have {limits}'
    wanted = f' (wanted: {limits})' if any(row.detections for row in rows) else ''
    return f'FAIL: {"; ".join(bad)}{wanted}'


def run(args: argparse.Namespace, console: Console | None = None) -> bool:
    """Compare what a command line asks for, print it and write it.

    Args:
        args (argparse.Namespace): See ``tools/analysis/export_parity.py --help``.
        console (Console, optional): Where to print. Defaults to stdout.

    Returns:
        bool: Whether all files find what PyTorch finds.

    Raises:
        ExportError: See :func:`~.parity.compare_files`, which raises others, too.
    """
    check_writable('--json', args.json)
    if args.threads is not None and args.threads < 1:
        raise ExportError(f'--threads must be at least 1, but received {args.threads}')
    if args.threads:
        torch.set_num_threads(args.threads)
    be_quiet()
    console = wide_console(console, 200)
    rows = compare_files(
        load_config(args.config, args.cfg_options),
        args.checkpoint,
        [split_backend(text) for text in args.models],
        args.images,
        args.batch_sizes,
        args.score_thr,
        args.threads,
    )
    console.print(parity_table(rows))
    told = verdict(rows)
    console.print(told, highlight=False, soft_wrap=True)
    if args.json:
        content = dict(
            format=1,
            command=shlex.join(['python', *sys.argv]),
            machine=describe_machine(),
            versions={**versions(), **installed_versions(BACKENDS)},
            date=date.today().isoformat(),
            checkpoint_sha256=sha256_of(args.checkpoint),
            verdict=told,
            comparisons=[row.to_dict() for row in rows],
        )
        write_json(content, Path(args.json))
    return all(row.passes for row in rows)
