# SPDX-License-Identifier: Apache-2.0
"""What ``tools/analysis/cost_sweep.py`` does with its command line."""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import asdict
from typing import Any

import torch
from rich.console import Console

from ..errors import BenchmarkError
from .command_parts import check_writable, raise_if_failed, wide_console
from .exported import RUNTIMES, left_out
from .lineup import be_quiet
from .sweep import SweepPlan, measure_sweep, sweep_specs
from .sweep_report import about_sweep, sweep_tables, write_sweep
from .watch import SpeedBoard

__all__ = ['run']


def run(args: argparse.Namespace, console: Console | None = None) -> dict[str, Any]:
    """Measure what a command line asks for, print it and write it.

    Args:
        args (argparse.Namespace): See ``tools/analysis/cost_sweep.py --help``.
        console (Console, optional): Where to print. Defaults to stdout.

    Returns:
        dict[str, Any]: See :func:`measure_sweep`.

    Raises:
        BenchmarkError: If it cannot be measured.
        RunFailedError: If a candidate failed; all else was measured and written.
    """
    check_writable('--json', args.json)
    check_writable('--markdown', args.markdown)
    if args.threads is not None and args.threads < 1:
        raise BenchmarkError(f'--threads must be at least 1, but received {args.threads}')
    if args.threads:
        torch.set_num_threads(args.threads)
    missing = left_out([name for name in args.runtimes if name in RUNTIMES])
    plan = SweepPlan(
        parts=tuple(args.parts),
        runtimes=tuple(name for name in args.runtimes if name not in missing),
        batch_sizes=tuple(args.batch_sizes),
        rounds=args.rounds,
        warm_up=args.warm_up,
        memory=not args.no_memory,
    )
    specs = sweep_specs(args.configs, args.sweep, args.cfg_options)
    be_quiet()
    console = wide_console(console, 120)
    steps = len(plan.groups()) + (len(plan.batch_sizes) if plan.memory else 0)
    about = about_sweep(
        shlex.join(['python', *sys.argv]),
        asdict(plan),
        list(missing.values()),
        torch.get_num_threads(),
    )
    with SpeedBoard(steps, console) as board:
        board.say(about['machine'])
        for sentence in about['left_out']:
            board.say(sentence)
        found = measure_sweep(specs, plan, board, args.threads or 0)
        for table in sweep_tables(found):
            board.console.print(table)
        write_sweep(found, about, args.json, args.markdown)
        for path in filter(None, (args.json, args.markdown)):
            board.say(f'wrote {path}')
    failed = [f'{s.measure}, {s.name}: {s.error}' for s in found['series'] if s.error]
    failed += [
        f'memory, {row["name"]}: {row["error"]}' for row in found['memory'] if 'error' in row
    ]
    raise_if_failed(failed)
    return found
