# SPDX-License-Identifier: Apache-2.0
"""A comparison of searches: each seed searches, trains what it has found from scratch and tests it.

Every way of searching gets the same seeds, data and schedule of the final training; random search
gets the seconds that the search beside it took with the same seed. It may pass them a little (see
:func:`~.random_search.random_search`), so the seconds of both stand in the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from mmdet_mobilenext.benchmark.folder import read_json, write_json
from mmdet_mobilenext.engine.atomic_checkpoint_hook import AtomicLocalBackend
from mmdet_mobilenext.engine.environment import OptionError
from mmdet_mobilenext.evaluation.verdict import seed_interval

from .genotype import Genotype
from .random_search import candidate_config, random_search
from .settings import config_settings, refuse_mixed
from .training import run_search, search_space, train_genotype

__all__ = ['compare_seeds', 'run_study', 'study_markdown']

RANDOM = 'random search in '


def run_study(
    search_cfgs: dict[str, Config],
    train_cfg: Config,
    work_dir: Path,
    seeds: Sequence[int],
    candidate_epochs: int = 2,
    random_of: Sequence[str] | None = None,
    level: float = 0.95,
) -> dict[str, Any]:
    """Search and train with all seeds; what is finished is not done again.

    Args:
        search_cfgs (dict[str, Config]): Name and config of each search.
        train_cfg (Config): Config of the final training.
        work_dir (Path): Folder of the runs, ``results.json`` and ``results.md``.
        seeds (Sequence[int]): Seeds; the same for all.
        candidate_epochs (int): Epochs of a candidate of random search. Defaults to 2.
        random_of (Sequence[str], optional): Searches beside which a random search in the same space
            with the same seconds is run. Defaults to the first.
        level (float): Confidence level of all intervals together. Defaults to 0.95.

    Returns:
        dict: ``seeds``, ``ways`` (for each name a list over the seeds, see :func:`train_genotype`,
        with ``search``) and ``comparisons`` of the first search with each other way.

    Raises:
        OptionError: Without a seed, or with one twice, or an unknown name in ``random_of``, or if a
            config is one of something else.
        MixedRunsError: If the folder holds runs of other configs.
    """
    random_of = list(search_cfgs)[:1] if random_of is None else list(random_of)
    if not seeds or len(set(seeds)) != len(seeds):
        raise OptionError(f'needs different seeds, but received {list(seeds)}')
    if set(random_of) - set(search_cfgs):
        raise OptionError(f'random_of has {random_of}, but the searches are {list(search_cfgs)}')
    for cfg in search_cfgs.values():
        # now, rather than after the first search
        search_space(cfg)
        candidate_config(cfg, train_cfg, candidate_epochs)
    for name, cfg in search_cfgs.items():
        settings = config_settings(cfg, 'search.') | config_settings(train_cfg, 'train.')
        refuse_mixed(work_dir / name, dict(settings, candidate_epochs=candidate_epochs))
    ways: dict[str, list] = {}
    results = {}
    for number, seed in enumerate(seeds, 1):
        for name, cfg in search_cfgs.items():
            folder = work_dir / name / f'seed{seed}'
            found = _once(folder / 'search.json', run_search, cfg, folder / 'search', seed)
            ways.setdefault(name, []).append(_train_found(train_cfg, found, folder, seed))
            if name not in random_of:
                continue
            folder = work_dir / f'random_{name}' / f'seed{seed}'
            options = (candidate_epochs, found['seconds'])
            arguments = (cfg, train_cfg, folder / 'search', seed, *options)
            found = _once(folder / 'search.json', random_search, *arguments)
            ways.setdefault(RANDOM + name, []).append(_train_found(train_cfg, found, folder, seed))
        scores = {name: [run['top1'] for run in runs] for name, runs in ways.items()}
        results = dict(
            seeds=list(seeds[:number]),
            candidate_epochs=candidate_epochs,
            epochs=train_cfg.train_cfg.max_epochs,
            ways=ways,
            comparisons=compare_seeds(scores, level),
        )
        write_json(results, work_dir / 'results.json')
        AtomicLocalBackend().put_text(study_markdown(results), work_dir / 'results.md')
    return results


def _once(path: Path, work: Callable[..., dict], *arguments: Any) -> dict[str, Any]:
    """The result in a file, or that of work which is then written to it."""
    result = read_json(path)
    if result is None:
        result = work(*arguments)
        write_json(result, path)
    return result


def _train_found(train_cfg: Config, found: dict, folder: Path, seed: int) -> dict[str, Any]:
    genotype = Genotype.from_dict(found['genotype'])
    path = folder / 'trained.json'
    trained = _once(path, train_genotype, train_cfg, genotype, folder / 'train', seed)
    return dict(trained, search=found)


def compare_seeds(scores: dict[str, Sequence[float]], level: float = 0.95) -> list[dict[str, Any]]:
    """Compare the first of several ways with each other one, seed by seed.

    Args:
        scores (dict[str, Sequence[float]]): Name and score of each seed, higher is better.
        level (float): Level of all intervals together: each has that of Bonferroni's correction.
            Defaults to 0.95.

    Returns:
        list[dict]: ``way``, ``baseline``, ``differences`` by seed, their mean ``difference``,
        ``interval`` (Student's t, see :func:`~mmdet_mobilenext.evaluation.verdict.seed_interval`;
        None with one seed), its ``level`` and ``verdict``.

    Example:
        >>> result = compare_seeds(dict(a=[60.0, 62.0, 61.0], b=[59.0, 61.5, 60.0]))[0]
        >>> result['verdict'], [round(end, 2) for end in result['interval']]
        ('better', [0.12, 1.55])
    """
    way, *others = scores
    each = 1 - (1 - level) / max(1, len(others))
    results = []
    for other in others:
        differences = np.subtract(scores[way], scores[other])
        interval = seed_interval(differences, each)
        low, high = interval or (-np.inf, np.inf)
        verdict = 'better' if low > 0 else 'worse' if high < 0 else 'no difference shown'
        results.append(
            dict(
                way=way,
                baseline=other,
                differences=differences.tolist(),
                difference=float(differences.mean()),
                interval=interval and list(interval),
                level=each,
                verdict=verdict,
            )
        )
    return results


def study_markdown(results: dict[str, Any]) -> str:
    """The tables of a study.

    Args:
        results (dict): Of :func:`run_study`.

    Returns:
        str: Markdown.
    """
    lines = [
        f'Top-1 in percent, seeds {", ".join(map(str, results["seeds"]))}; means over the seeds.',
        '',
        '| Search | Top-1 (each seed) | Parameters | Multiply-adds | sandglass of all edges '
        '| Search, s | Candidates |',
        '|---|---|---|---|---|---|---|',
    ]
    for name, runs in results['ways'].items():
        genotypes = [Genotype.from_dict(run['genotype']) for run in runs]
        edges = sum(4 * genotype.num_nodes for genotype in genotypes)
        sandglass = sum(genotype.count('sandglass_3x3') for genotype in genotypes)
        drawn = [len(run['search'].get('candidates', [])) for run in runs]
        each = ', '.join(f'{run["top1"]:.2f}' for run in runs)
        cells = [
            name,
            f'{np.mean([run["top1"] for run in runs]):.2f} ({each})',
            f'{np.mean([run["parameters"] for run in runs]) / 1e3:.1f} k',
            f'{np.mean([run["madds"] for run in runs]) / 1e6:.2f} M',
            f'{sandglass} of {edges}',
            f'{np.mean([run["search"]["seconds"] for run in runs]):.0f}',
            f'{np.mean(drawn):.1f}' if any(drawn) else '',
        ]
        lines.append('| ' + ' | '.join(cells) + ' |')
    if results['comparisons']:
        level = f'{100 * results["comparisons"][0]["level"]:.4g}'
        lines += [
            '',
            f'| | Difference | {level} % interval over seeds | Verdict |',
            '|---|---|---|---|',
        ]
    for row in results['comparisons']:
        ends = ' to '.join(f'{end:+.2f}' for end in row['interval'] or ()) or 'one seed, none'
        lines.append(
            f'| {row["way"]} against {row["baseline"]} | {row["difference"]:+.2f} '
            f'| {ends} | {row["verdict"]} |'
        )
    return '\n'.join(lines) + '\n'
