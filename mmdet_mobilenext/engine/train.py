# SPDX-License-Identifier: Apache-2.0
"""Training: the work behind ``tools/train.py``."""

from __future__ import annotations

import os.path as osp

from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmdet_mobilenext.checkpoints.resume import check_resumable, find_resumable
from mmdet_mobilenext.datasets.checks import check_dataset_cfgs

from .class_checks import check_num_classes
from .config import hooks_of_type
from .environment import OptionError, check_environment, prepare_distributed
from .initial_weights import from_scratch_message, settle_weights
from .model_checks import build_model, check_levels, check_weights, settle_strict_load

__all__ = ['build_runner', 'check_before_training', 'train']


def build_runner(cfg: Config) -> Runner:
    """Build the runner that a config asks for.

    Args:
        cfg (Config): Config of the run.

    Returns:
        Runner: mmengine's, or one of ``runner_type``.
    """
    prepare_distributed(cfg)
    if 'runner_type' not in cfg:
        return Runner.from_cfg(cfg)
    # mmengine's FlexibleRunner initialises the model before InitialWeightsHook is called
    if missing := settle_weights(cfg, trains=not cfg.get('resume')):
        print(from_scratch_message(missing), flush=True)
    return RUNNERS.build(cfg)


def check_before_training(cfg: Config) -> None:
    """Find out within seconds what would stop the run later.

    Args:
        cfg (Config): Config of the run.

    Raises:
        DataCheckError: If a data set has an error.
        EnvironmentCheckError: If the machine cannot do what the run needs.
        FileNotFoundError: If ``load_from`` does not exist.
        CheckpointKeyError: If the run goes on from a checkpoint of another model.
        OptionError: If data and head have different numbers of classes, if the model cannot be
            built, or if its priors are made for other levels.
    """
    check_environment(cfg)
    check_load_from(cfg.get('load_from'))
    check_num_classes(cfg, ('train', 'val'))
    check_dataset_cfgs(cfg, roles=('train', 'val')).raise_if_bad()
    model = build_model(cfg)
    check_levels(model)
    if cfg.get('resume') and cfg.get('load_from'):
        check_weights(model, cfg.load_from)


def check_load_from(path: str | None) -> None:
    """Check that a local checkpoint exists.

    Args:
        path (str, optional): File, or a URL, which is not looked at.

    Raises:
        FileNotFoundError: If it does not.
    """
    if path and '://' not in path and not osp.isfile(osp.expanduser(path)):
        raise FileNotFoundError(f'no checkpoint {path!r}')


def train(
    cfg: Config,
    resume: str | None = None,
    amp: bool = False,
    auto_scale_lr: bool = False,
    allow_partial: bool = False,
) -> Runner:
    """Train a detector.

    Args:
        cfg (Config): Config of the run, see :func:`load_config`.
        resume (str, optional): Checkpoint to resume from, or ``'auto'`` for
            the newest one in the work directory that loads. Defaults to None.
        amp (bool): Mixed precision. Defaults to False.
        auto_scale_lr (bool): Scale the learning rate with the batch size.
            Defaults to False.
        allow_partial (bool): Let ``load_from`` match in part, for fine-tuning
            with other classes. Defaults to False.

    Returns:
        Runner: The runner after training.

    Raises:
        OptionError: If the config cannot scale its learning rate.
        CheckpointKeyError, DataCheckError, EnvironmentCheckError, FileNotFoundError: See
            :func:`check_before_training`.
    """
    if amp:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise OptionError(
                '--auto-scale-lr needs auto_scale_lr = dict(enable=False, base_batch_size=...) in '
                'the config'
            )
        cfg.auto_scale_lr.enable = True
    settle_strict_load(cfg)
    if allow_partial:
        set_allow_partial(cfg)
    if resume == 'auto':
        found = find_resumable(cfg.work_dir)
        if found is None:
            start = cfg.get('load_from') or 'the beginning'
            print(f'nothing to resume in {cfg.work_dir}: starting from {start}', flush=True)
        else:
            cfg.load_from = found
            cfg.resume = True
    elif resume is not None:
        check_load_from(resume)
        check_resumable(resume)
        cfg.load_from = resume
        cfg.resume = True
    check_before_training(cfg)
    runner = build_runner(cfg)
    runner.train()
    return runner


def set_allow_partial(cfg: Config) -> None:
    """Let ``load_from`` match in part.

    Args:
        cfg (Config): Changed in place.

    Raises:
        OptionError: If there is no ``load_from`` or nothing that checks it.
    """
    strict = hooks_of_type(cfg, 'StrictLoadHook')
    if not cfg.get('load_from') or not strict:
        raise OptionError(
            '--allow-partial is about load_from and the StrictLoadHook that checks it, but '
            f'load_from is {cfg.get("load_from")} and the config has {len(strict)} such hooks'
        )
    for hook in strict:
        hook['allow_partial'] = True
