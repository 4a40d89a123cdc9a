# SPDX-License-Identifier: Apache-2.0
"""One search, and one training of what was found, each resumed if it was killed."""

from __future__ import annotations

import copy
import gc
import os.path as osp
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from mmdet_mobilenext.engine.complexity import count_madds, count_parameters
from mmdet_mobilenext.engine.environment import OptionError
from mmdet_mobilenext.engine.train import train

from .genotype import Genotype, read_genotype
from .settings import config_settings, refuse_mixed
from .train_loop import GENOTYPE_FILE, seconds

__all__ = ['check_training', 'run_search', 'search_space', 'set_epochs', 'train_genotype']


def search_space(cfg: Config) -> dict[str, Any]:
    """The part of a search's config that says which cells there are.

    Args:
        cfg (Config): Config of a search.

    Returns:
        dict: The backbone, ``RelaxedCells``.

    Raises:
        OptionError: If it is the config of something else.

    Example:
        >>> search_space(Config(dict(model=dict(type='RetinaNet'))))
        Traceback (most recent call last):
        ...
        mmdet_mobilenext.engine.environment.OptionError: a search needs model.type='Darts', ...
    """
    if cfg.model.type != 'Darts':
        raise OptionError(
            f"a search needs model.type='Darts', but the config has {cfg.model.type!r}: see "
            'configs/search'
        )
    return cfg.model.network.backbone


def check_training(cfg: Config) -> None:
    """Refuse what is no training of found cells.

    Args:
        cfg (Config): Config of the training.

    Raises:
        OptionError: If its backbone is not ``SearchedCells``.

    Example:
        >>> check_training(Config(dict(model=dict(type='RetinaNet'))))
        Traceback (most recent call last):
        ...
        mmdet_mobilenext.engine.environment.OptionError: the training of found cells needs the ...
    """
    kind = (cfg.model.get('backbone') or {}).get('type')
    if kind != 'SearchedCells':
        raise OptionError(
            'the training of found cells needs the backbone SearchedCells, but the config has '
            f'{kind!r} in a {cfg.model.type}: see configs/search/cells_small.py'
        )


def set_epochs(cfg: Config, epochs: int) -> None:
    """Shorten or lengthen a training with one schedule over all of it.

    Args:
        cfg (Config): Changed in place.
        epochs (int): Epochs.

    Raises:
        OptionError: If a schedule does not span the whole training.

    Example:
        >>> cfg = Config(dict(
        ...     train_cfg=dict(max_epochs=8, val_begin=9),
        ...     param_scheduler=[dict(type='CosineAnnealingLR', T_max=8, end=8)]))
        >>> set_epochs(cfg, 2)
        >>> cfg.train_cfg.max_epochs, cfg.param_scheduler[0]['T_max']
        (2, 2)
    """
    old = cfg.train_cfg.max_epochs
    for schedule in cfg.param_scheduler:
        if schedule.get('begin', 0) or any(
            schedule.get(key, old) != old for key in ('end', 'T_max')
        ):
            raise OptionError(
                f'cannot change the length from {old} to {epochs} epochs: the schedule '
                f'{schedule["type"]} does not span all of it'
            )
        schedule.update({key: epochs for key in ('end', 'T_max') if key in schedule})
    cfg.train_cfg.max_epochs = epochs
    cfg.train_cfg.val_begin = epochs + 1


def _train(cfg: Config, work_dir: Path, seed: int) -> Runner:
    # before anything is noted of data that are not there
    if cfg.get('crops') and not osp.isdir(cfg.data_root):
        raise FileNotFoundError(
            f'there are no crops in {cfg.data_root}: make them with `python tools/search.py crops '
            'CONFIG` and the same --cfg-options'
        )
    refuse_mixed(work_dir, dict(config_settings(cfg), seed=seed))
    cfg.work_dir = str(work_dir)
    cfg.setdefault('launcher', 'none')
    cfg.randomness = dict(seed=seed)
    # mmengine keeps loggers and message hubs by this name
    cfg.experiment_name = osp.abspath(work_dir).strip('/').replace('/', '_')
    gc.collect()  # a runner is a cycle: the one before goes now
    return train(cfg, resume='auto')


def run_search(cfg: Config, work_dir: Path, seed: int) -> dict[str, Any]:
    """Search, or go on with a search.

    Args:
        cfg (Config): Config of the search; not changed.
        work_dir (Path): Folder of the run.
        seed (int): Seed.

    Returns:
        dict: ``genotype``, ``seconds`` of training and ``iterations``.

    Raises:
        FileNotFoundError: If there are no crops.
        MixedRunsError: If the folder holds another search.
        OptionError: If it is the config of something else.
    """
    cfg = copy.deepcopy(cfg)
    search_space(cfg)
    runner = _train(cfg, work_dir, seed)
    return dict(
        genotype=read_genotype(work_dir / GENOTYPE_FILE).to_dict(),
        seconds=runner.message_hub.get_info('training_seconds'),
        iterations=runner.iter,
    )


def train_genotype(
    cfg: Config,
    genotype: Genotype,
    work_dir: Path,
    seed: int,
    input_size: int = 32,
) -> dict[str, Any]:
    """Train a network of given cells from scratch, or go on, and test it.

    Args:
        cfg (Config): Config of the training; not changed.
        genotype (Genotype): The cells.
        work_dir (Path): Folder of the run.
        seed (int): Seed.
        input_size (int): Side of the images in pixels, for the multiply-adds. Defaults to 32.

    Returns:
        dict: ``genotype``, ``top1`` on the data of ``val_dataloader`` in percent, ``parameters``,
        ``madds``, and ``seconds`` of training and test.

    Raises:
        FileNotFoundError: If there are no crops.
        MixedRunsError: If the folder holds the training of other cells, or another one of these.
        OptionError: If it is the config of something else.
    """
    check_training(cfg)
    cfg = copy.deepcopy(cfg)
    cfg.model.backbone.genotype = genotype.to_dict()
    runner = _train(cfg, work_dir, seed)
    start = seconds()
    metrics = runner.val_loop.run()
    spent = seconds() - start
    return dict(
        genotype=genotype.to_dict(),
        top1=metrics['accuracy/top1'],
        parameters=count_parameters(runner.model),
        madds=count_madds(runner.model, (input_size, input_size)),
        seconds=runner.message_hub.get_info('training_seconds') + spent,
    )
