# SPDX-License-Identifier: Apache-2.0
"""Random search: what any other search has to beat.

Source: Li and Talwalkar, Random Search and Reproducibility for Neural Architecture Search, UAI
2019, https://arxiv.org/abs/1902.07638.
"""

from __future__ import annotations

import copy
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from mmdet_mobilenext.benchmark.folder import read_json, write_json
from mmdet_mobilenext.engine.environment import OptionError

from .genotype import Genotype, random_genotype, write_genotype
from .settings import config_settings, refuse_mixed
from .train_loop import GENOTYPE_FILE
from .training import check_training, search_space, set_epochs, train_genotype

__all__ = ['candidate_config', 'random_search']


def candidate_config(search_cfg: Config, train_cfg: Config, epochs: int) -> Config:
    """Config of the short training of a candidate: on the images that a search takes for the
    weights of the network, tested on those it takes for the weights of the operations.

    Args:
        search_cfg (Config): Config of a search.
        train_cfg (Config): Config of the training of what is found; not changed.
        epochs (int): Epochs of a candidate.

    Returns:
        Config: Of a candidate, whose cells are to be set.

    Raises:
        OptionError: If it is the config of something else, or there is no epoch.
    """
    check_training(train_cfg)
    if epochs < 1:
        raise OptionError(f'a candidate is trained for 1 epoch or more, but received {epochs}')
    cfg = copy.deepcopy(train_cfg)
    set_epochs(cfg, epochs)
    dataset = search_cfg.train_dataloader.dataset
    other = search_cfg.train_cfg.architecture_dataloader.dataset
    cfg.train_dataloader.dataset.ann_file = dataset.ann_file
    # the pipeline of the test, on training images
    test = cfg.val_dataloader.dataset
    test.update(ann_file=other.ann_file, data_prefix=dataset.data_prefix)
    return cfg


def random_search(
    search_cfg: Config,
    train_cfg: Config,
    work_dir: Path,
    seed: int,
    candidate_epochs: int,
    budget: float | None = None,
    candidates: int | None = None,
) -> dict[str, Any]:
    """Draw cells from the space of a search, train each for a short while and take the best.

    The same seed draws the same cells in the same order; only how many of them a budget is enough
    for depends on the machine. A killed search goes on with the candidate it was at.

    Args:
        search_cfg (Config): Config of the search whose space it is.
        train_cfg (Config): Config of the training, which is shortened for candidates.
        work_dir (Path): Folder for the candidates, ``candidates.json`` and ``genotype.json``.
        seed (int): Seed of the cells and of the trainings.
        candidate_epochs (int): Epochs of each candidate.
        budget (float, optional): Seconds of training and test of all candidates together. One that
            would pass it, by the mean of those before, is not begun; the first always is. So it may
            be passed by the first, or by as much as the last takes longer than the mean.
        candidates (int, optional): Number of candidates, instead of a budget.

    Returns:
        dict: ``genotype`` of the candidate with the highest ``top1``, ``seconds`` of all, and
        ``candidates``, the list of :func:`train_genotype`. Candidates that the folder holds beyond
        the budget or number do not count.

    Raises:
        OptionError: Unless there is either a budget or a number; see also
            :func:`candidate_config`.
        MixedRunsError: If the folder holds candidates of another seed, config or number of epochs.
    """
    if (budget is None) == (candidates is None) or (candidates is not None and candidates < 1):
        raise OptionError(
            'a random search needs either a budget in seconds or a number of candidates, at least '
            f'1, but received budget={budget} and candidates={candidates}'
        )
    space = search_space(search_cfg)
    cfg = candidate_config(search_cfg, train_cfg, candidate_epochs)
    settings = config_settings(search_cfg, 'search.') | config_settings(train_cfg, 'train.')
    refuse_mixed(work_dir, dict(settings, candidate_epochs=candidate_epochs, seed=seed))
    path = work_dir / 'candidates.json'
    done = read_json(path) or []
    rng = np.random.default_rng(seed)
    for index in count():
        # of those that are done already only as many count as would be trained now
        spent = sum(candidate['seconds'] for candidate in done[:index])
        if index and (
            index == candidates or (budget is not None and spent * (1 + 1 / index) > budget)
        ):
            break
        genotype = random_genotype(rng, space.num_nodes, space.operations)
        if index == len(done):
            done.append(train_genotype(cfg, genotype, work_dir / f'candidate{index}', seed))
            write_json(done, path)
    done = done[:index]
    best = max(done, key=lambda candidate: candidate['top1'])
    write_genotype(
        Genotype.from_dict(best['genotype']),
        work_dir / GENOTYPE_FILE,
        method='random search',
        operations=list(space.operations),
        seed=seed,
        candidates=len(done),
    )
    return dict(
        genotype=best['genotype'],
        seconds=sum(candidate['seconds'] for candidate in done),
        candidates=done,
    )
