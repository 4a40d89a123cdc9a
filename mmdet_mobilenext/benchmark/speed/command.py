# SPDX-License-Identifier: Apache-2.0
"""The command line of ``tools/benchmark_speed.py``."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

import torch
from rich.console import Console

from mmdet_mobilenext.datasets.generated_voc import generate_voc

from ..errors import BenchmarkError
from .candidate import Settings
from .command_parts import check_writable, raise_if_failed
from .full_size import upscale_voc
from .growth_rows import AXES
from .lineup import be_quiet, choose
from .plot import check_plot_path
from .report import describe_machine
from .session import TASKS, SpeedSession
from .time_to_map import parse_work_dirs
from .watch import SpeedBoard

__all__ = ['parse_args', 'run']

FULL_SIDE = 500
"""Longer side of VOC's images in pixels."""


def parse_args(args: list[str] | None = None) -> argparse.Namespace:
    """Read the command line.

    Args:
        args (list[str], optional): Defaults to that of the process.

    Returns:
        argparse.Namespace: See ``--help``.

    Example:
        >>> parse_args(['--runs', '3']).runs
        3
    """
    parser = argparse.ArgumentParser(
        description='Time detectors from end to end in interleaved runs.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add('configs', nargs='*', help='configs to time instead of the usual candidates')
    add('--no-stock', action='store_true', help='leave out stock mmdet SSDLite, the baseline')
    add('--data-root', help='VOCdevkit; else VOC_DATA_ROOT; else a set is generated')
    add('--full-size', action='store_true', help='enlarge the images to 500 px beforehand, once')
    add('--work-dir', default='work_dirs/benchmark_speed', help='folder of sets that are made')
    add('--tasks', nargs='+', choices=TASKS, help='default: all that can run', metavar='TASK')
    add('--runs', type=int, default=10, help='counted rounds')
    add('--batch-size', type=int, default=24, help='images of a training batch')
    add('--test-batch-size', type=int, default=8, help='images of a test batch')
    add('--num-workers', type=int, default=1, help='workers of each data loader')
    add('--threads', type=int, help="PyTorch's threads")
    add('--block', type=int, default=6, help='batches of a loader in each run')
    add('--images', type=int, default=512, help='images of each split that are used')
    add('--growth-runs', type=int, default=5, help='counted rounds of each size')
    add('--growth-axes', nargs='+', choices=AXES, default=list(AXES), metavar='AXIS')
    add('--work-dirs', nargs='+', metavar='NAME=DIR', help='trainings of time-to-map')
    add('--target-map', type=float, default=0.2, help='mAP of time-to-map')
    add('--json', help='file for all times')
    add('--plot', help='file for the figure: .png, .svg or .pdf')
    return parser.parse_args(args)


def _check(args: argparse.Namespace) -> list[str]:
    """Refuse what cannot be measured; returns the tasks."""
    least = dict(runs=1, batch_size=2, test_batch_size=1, num_workers=0, block=1, images=1)
    for name, value in dict(least, growth_runs=1).items():
        if getattr(args, name) < value:
            option = '--' + name.replace('_', '-')
            hint = ' (batch norm cannot train on one)' if name == 'batch_size' else ''
            raise BenchmarkError(
                f'{option} must be at least {value}{hint}, but received {getattr(args, name)}'
            )
    if args.threads is not None and args.threads < 1:
        raise BenchmarkError(f'--threads must be at least 1, but received {args.threads}')
    if not 0 < args.target_map <= 1:
        raise BenchmarkError(f'--target-map must be in (0, 1], but received {args.target_map}')
    if args.plot:
        check_plot_path(args.plot)
    check_writable('--json', args.json)
    check_writable('--plot', args.plot)
    if args.tasks and 'time-to-map' in args.tasks and not args.work_dirs:
        raise BenchmarkError('the task time-to-map needs --work-dirs NAME=DIR ...')
    tasks = args.tasks or [t for t in TASKS if t != 'time-to-map' or args.work_dirs]
    if args.work_dirs and 'time-to-map' not in tasks:
        raise BenchmarkError('--work-dirs is for the task time-to-map, which is not in --tasks')
    return tasks


def _data(args: argparse.Namespace, board: SpeedBoard) -> str:
    """The VOCdevkit folder to use, generated or enlarged if need be."""
    root = args.data_root or os.environ.get('VOC_DATA_ROOT')
    cache = Path(args.work_dir)
    if root is None:
        board.say('no --data-root and no VOC_DATA_ROOT: using a generated set of full size')
        splits = dict(train=args.images, test=args.images)
        size = (FULL_SIDE, FULL_SIDE)
        dest = cache / f'generated_{FULL_SIDE}px_{args.images}'
        return str(generate_voc(dest, splits, image_size=size, progress=False).resolve())
    lists = Path(root) / 'VOC2007' / 'ImageSets' / 'Main'
    for split in ('trainval', 'test'):
        if not (lists / f'{split}.txt').is_file():
            raise BenchmarkError(
                f'{root} is no VOCdevkit folder: there is no {lists / f"{split}.txt"}'
            )
    if args.full_size:
        watch = board.watch('enlarging images')
        root = upscale_voc(root, cache / 'full_size', FULL_SIDE, progress=watch)
    return str(Path(root).resolve())


def run(args: argparse.Namespace, configs: Path, console: Console | None = None) -> SpeedSession:
    """Measure what a command line asks for.

    Args:
        args (argparse.Namespace): See :func:`parse_args`.
        configs (Path): ``configs`` of the project.
        console (Console, optional): Where to print. Defaults to stdout.

    Returns:
        SpeedSession: What was found.

    Raises:
        BenchmarkError: If it cannot be measured.
        RunFailedError: If anything failed; all else was measured and written.
    """
    tasks = _check(args)
    work_dirs = parse_work_dirs(args.work_dirs or [])
    if args.threads:
        torch.set_num_threads(args.threads)
    be_quiet()
    with SpeedBoard(len(tasks), console) as board:
        board.say(describe_machine())
        specs, left_out = [], []
        if tasks != ['time-to-map']:
            specs, left_out = choose(args.configs, configs, not args.no_stock)
        settings = Settings(
            data_root=_data(args, board) if specs else '',
            batch_size=args.batch_size,
            test_batch_size=args.test_batch_size,
            num_workers=args.num_workers,
            threads=args.threads or 0,
            runs=args.runs,
            block=args.block,
            images=args.images,
            growth_runs=args.growth_runs,
        )
        session = SpeedSession(
            specs,
            settings,
            work_dirs=work_dirs,
            target_map=args.target_map,
            growth_axes=args.growth_axes,
            command=shlex.join(sys.argv),
            json_path=args.json,
        )
        session.notes += left_out
        session.run(tasks, board)
        if args.json:
            board.say(f'wrote {args.json}')
        if args.plot:
            session.plot(args.plot)
            board.say(f'wrote {args.plot}')
    raise_if_failed(session.errors)
    return session
