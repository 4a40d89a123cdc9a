# SPDX-License-Identifier: Apache-2.0
"""Training: the work behind ``tools/train.py``."""

from __future__ import annotations

import os.path as osp

from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmdet_mobilenext.checkpoints.resume import find_resumable
from mmdet_mobilenext.datasets.checks import check_dataset_cfgs

from .environment import OptionError, check_environment, prepare_distributed

__all__ = ['build_runner', 'check_before_training', 'train']


def build_runner(cfg: Config) -> Runner:
    """Build the runner that a config asks for.

    Args:
        cfg (Config): Config of the run.

    Returns:
        Runner: mmengine's, or one of ``runner_type``.
    """
    prepare_distributed(cfg)
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def check_before_training(cfg: Config) -> None:
    """Find out within seconds what would stop the run later.

    Args:
        cfg (Config): Config of the run.

    Raises:
        DataCheckError: If a data set has an error.
        EnvironmentCheckError: If the machine cannot do what the run needs.
        FileNotFoundError: If ``load_from`` does not exist.
    """
    check_environment(cfg)
    check_load_from(cfg.get('load_from'))
    check_dataset_cfgs(cfg, roles=('train', 'val')).raise_if_bad()


def check_load_from(path: str | None) -> None:
    """Check that a local checkpoint exists.

    Args:
        path (str, optional): File, or a URL, which is not looked at.

    Raises:
        FileNotFoundError: If it does not.
    """
    if path and '://' not in path and not osp.isfile(path):
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
        DataCheckError, EnvironmentCheckError, FileNotFoundError: See
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
    if allow_partial:
        set_allow_partial(cfg)
    if resume == 'auto':
        cfg.load_from = find_resumable(cfg.work_dir)
        cfg.resume = cfg.load_from is not None
        if not cfg.resume:
            print(f'nothing to resume in {cfg.work_dir}: starting from the beginning', flush=True)
    elif resume is not None:
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
    """
    for hook in cfg.get('custom_hooks') or []:
        if hook.get('type') == 'StrictLoadHook':
            hook['allow_partial'] = True
