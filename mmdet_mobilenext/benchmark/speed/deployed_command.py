# SPDX-License-Identifier: Apache-2.0
"""What ``tools/analysis/deploy_speed.py`` does with its command line: tables and files."""

from __future__ import annotations

import argparse
import io
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mmdet_mobilenext.checksum import sha256_of
from mmdet_mobilenext.engine.atomic_checkpoint_hook import AtomicLocalBackend
from mmdet_mobilenext.engine.config import load_config
from mmdet_mobilenext.runtime.backends import split_backend
from mmdet_mobilenext.version import installed_versions

from ..folder import write_json
from .command_parts import check_writable, raise_if_failed, wide_console
from .deployed import EAGER, STAGES, DeployedPlan, measure_deployed, ratio_interval
from .lineup import be_quiet
from .report import describe_machine, versions
from .sweep_report import markdown_table
from .timing import Series
from .watch import SpeedBoard

__all__ = ['deployed_markdown', 'deployed_tables', 'run']


def run(args: argparse.Namespace, console: Console | None = None) -> dict[str, Any]:
    """Measure what a command line asks for, print it and write it.

    Args:
        args (argparse.Namespace): See ``tools/analysis/deploy_speed.py --help``.
        console (Console, optional): Where to print. Defaults to stdout.

    Returns:
        dict[str, Any]: See :func:`~.deployed.measure_deployed`.

    Raises:
        BenchmarkError: If it cannot be measured.
        RunFailedError: If a candidate failed; all else was measured and written.
    """
    check_writable('--json', args.json)
    check_writable('--markdown', args.markdown)
    plan = DeployedPlan(args.rounds, args.warm_up, args.images, args.threads, args.seed)
    be_quiet()
    console = wide_console(console, 160)
    cfg = load_config(args.config, args.cfg_options)
    with SpeedBoard(1, console) as board:
        board.start('latency')
        found = measure_deployed(
            cfg, args.checkpoint, [split_backend(f) for f in args.models], plan, board.watch
        )
    about = _about(args, plan)
    for table in deployed_tables(found):
        console.print(table)
    if args.json:
        write_json(_content(found, about), Path(args.json))
    if args.markdown:
        AtomicLocalBackend().put_text(deployed_markdown(found, about), args.markdown)
    failed = [
        f'{one.measure}, {one.name}: {one.error}'
        for one in [*found['latency'], *found['whole']]
        if one.error
    ]
    raise_if_failed(failed)
    return found


def _about(args: argparse.Namespace, plan: DeployedPlan) -> dict[str, Any]:
    found = installed_versions(
        ('onnxruntime', 'openvino', 'ncnn', 'numpy', 'opencv-python-headless')
    )
    runtimes = ', '.join(f'{name} {number}' for name, number in found.items())
    return dict(
        command=shlex.join(['python', *sys.argv]),
        machine=f'{describe_machine(plan.threads)}; {runtimes}',
        versions={**versions(), **found},
        plan=asdict(plan),
        date=date.today().isoformat(),
        checkpoint_sha256=sha256_of(args.checkpoint),
    )


def _content(found: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    lists = {
        key: [dict(one.to_dict(), **_relative(found[key], one)) for one in found[key]]
        for key in ('latency', 'whole')
    }
    return dict(format=1, **about, files=found['files'], **lists, stages=found['stages'])


def _relative(group: Sequence[Series], one: Series) -> dict[str, Any]:
    """Share of PyTorch's time, unless one of them failed."""
    base = next(series for series in group if series.name == EAGER)
    if base.error or one.error:
        return {}
    ratio, low, high = ratio_interval(base.times, one.times)
    return dict(ratio_to_eager=ratio, ratio_interval=[low, high])


def deployed_tables(found: Mapping[str, Any]) -> list[Table]:
    """Latency, the whole way from a file, and what it consists of.

    Args:
        found (Mapping): As ``measure_deployed`` returns it.

    Returns:
        list[Table]: To be printed by rich, in GitHub's Markdown.

    Example:
        >>> series = [Series('latency', 'from a resized image to boxes', EAGER, 1, [0.5, 0.6])]
        >>> tables = deployed_tables(dict(latency=series, whole=[], stages={}))
        >>> [table.row_count for table in tables]
        [1]
    """
    tables = []
    for key in ('latency', 'whole'):
        if not found[key]:
            continue
        table = markdown_table(
            found[key][0].measure, 'median ms', 'p95 ms', 'of PyTorch', '95 % interval', 'rounds'
        )
        for one in found[key]:
            if one.error:
                table.add_row(one.name, 'failed', one.error.splitlines()[0][:90])
                continue
            relative = _relative(found[key], one)
            low, high = relative.get('ratio_interval', (float('nan'),) * 2)
            table.add_row(
                one.name,
                f'{1000 * one.median:.2f}',
                f'{1000 * one.p95:.2f}',
                f'{relative.get("ratio_to_eager", float("nan")):.3f}',
                f'{low:.3f} to {high:.3f}',
                str(len(one.times)),
            )
        tables.append(table)
    if found['stages']:
        table = markdown_table('where the time goes, median ms', *STAGES)
        for name, stages in found['stages'].items():
            table.add_row(name, *(f'{1000 * stages[stage]:.3f}' for stage in STAGES))
        tables.append(table)
    return tables


def deployed_markdown(found: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """The tables as a text in GitHub's Markdown.

    Args:
        found (Mapping): As ``measure_deployed`` returns it.
        about (Mapping): ``machine`` and ``command``.

    Returns:
        str: Markdown with a newline at the end.

    Example:
        >>> about = dict(machine='a CPU', command='speed')
        >>> deployed_markdown(dict(latency=[], whole=[], stages={}), about).splitlines()[0]
        '# Latency of exported files'
    """
    parts = ['# Latency of exported files', f'{about["machine"]}.']
    parts.append(f'```bash\n{about["command"]}\n```')
    for table in deployed_tables(found):
        console = Console(file=io.StringIO(), width=300)
        console.print(table)
        lines = console.file.getvalue().splitlines()
        parts.append('\n'.join(line.strip() for line in lines if line.strip()))
    return '\n\n'.join(parts) + '\n'
