# SPDX-License-Identifier: Apache-2.0
"""The work behind ``tools/search.py``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config

from mmdet_mobilenext.engine.config import load_config
from mmdet_mobilenext.engine.environment import OptionError

from .crops import STAMP, make_crops
from .drawing import draw_genotype
from .genotype import read_genotype
from .random_search import random_search
from .study import run_study, study_markdown
from .train_loop import GENOTYPE_FILE
from .training import run_search, train_genotype

__all__ = ['run']


def run(args: argparse.Namespace) -> None:
    """Carry out a subcommand and print what came out.

    Args:
        args (argparse.Namespace): Command line of ``tools/search.py``.
    """
    commands = dict(
        crops=_crops, search=_search, random=_random, train=_train, compare=_compare, show=_show
    )
    commands[args.command](args)


def _load(args: argparse.Namespace, path: str) -> Config:
    return load_config(path, args.cfg_options, getattr(args, 'work_dir', None))


def _crops(args: argparse.Namespace) -> None:
    cfg = load_config(args.config, args.cfg_options, import_custom_modules=False)
    if not isinstance(cfg.get('crops'), Mapping):
        raise OptionError(f'{args.config} says nothing of crops: take a config of configs/search')
    options = dict(cfg.crops)
    path = make_crops(options.pop('voc_root'), cfg.data_root, classes=cfg.classes, **options)
    counts = json.loads((path / STAMP).read_text(encoding='utf-8'))['counts']
    for split, found in counts.items():
        left_out = ', '.join(f'{number} {why}' for why, number in found['left_out'].items())
        print(f'{path}: {split} {found["crops"]} crops (left out: {left_out})')


def _search(args: argparse.Namespace) -> None:
    cfg = _load(args, args.config)
    run_search(cfg, Path(cfg.work_dir), args.seed)
    _print_genotype(Path(cfg.work_dir))


def _random(args: argparse.Namespace) -> None:
    cfg = _load(args, args.config)
    folder = Path(args.work_dir or f'{cfg.work_dir}_random')
    found = random_search(
        cfg,
        _load(args, args.train),
        folder,
        args.seed,
        args.candidate_epochs,
        args.budget,
        args.candidates,
    )
    print(f'{len(found["candidates"])} candidates in {found["seconds"]:.0f} s')
    _print_genotype(folder)


def _print_genotype(folder: Path) -> None:
    path = folder / GENOTYPE_FILE
    print(f'{path}\n{read_genotype(path)}')


def _train(args: argparse.Namespace) -> None:
    cfg = _load(args, args.config)
    result = train_genotype(cfg, read_genotype(args.genotype), Path(cfg.work_dir), args.seed)
    print(
        f'top-1 {result["top1"]:.2f} %, {result["parameters"]:,} parameters, '
        f'{result["madds"]:,} multiply-adds'
    )


def _compare(args: argparse.Namespace) -> None:
    names = [Path(path).stem for path in args.config]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise OptionError(
            f'searches are told apart by the names of their configs, but {", ".join(twice)} is '
            f'there more than once in {args.config}: name each once, or rename a copy'
        )
    cfgs = {name: _load(args, path) for name, path in zip(names, args.config, strict=True)}
    folder = Path(args.work_dir or 'work_dirs/search')
    results = run_study(cfgs, _load(args, args.train), folder, args.seeds, args.candidate_epochs)
    print(study_markdown(results))


def _show(args: argparse.Namespace) -> None:
    genotype = read_genotype(args.genotype)
    print(genotype)
    if args.out:
        draw_genotype(genotype, args.out)
        print(f'wrote {args.out}')
