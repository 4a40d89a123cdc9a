# SPDX-License-Identifier: Apache-2.0
"""Weights to start from that may be missing, and saying so.

A config names them as ``init_cfg=dict(type='Pretrained', ...)`` of a module, and lists those files
that may be missing as ``optional_weights``. Any other file that is missing is an error.
"""

from __future__ import annotations

import logging
import os
import os.path as osp
from collections.abc import Mapping
from shlex import quote
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, MODELS
from mmengine.runner import BaseLoop, Runner, find_latest_checkpoint
from torch import nn

from mmdet_mobilenext.checkpoints.strict import unwrap_model
from mmdet_mobilenext.checksum import sha256_of

__all__ = [
    'InitialWeightsHook',
    'describe_initial_weights',
    'from_scratch_message',
    'settle_weights',
]

_FRAME = '!' * 88


def from_scratch_message(missing: list[str], title: str = 'THIS RUN STARTS FROM SCRATCH') -> str:
    """What is said about weights that are missing.

    Args:
        missing (list[str]): Files.
        title (str): First line. Defaults to ``'THIS RUN STARTS FROM SCRATCH'``.

    Returns:
        str: A framed text of some lines.

    Example:
        >>> 'weights.py fetch a' in from_scratch_message(['weights/a.pth'])
        True
    """
    lines = [title, '']
    lines += [
        f'No ImageNet weights: there is no file {path} (seen from {os.getcwd()}).'
        for path in missing
    ]
    lines += [
        'The 72.6 (MobileNeXt) and 71.7 (MobileNetV2) published for SSDLite were reached with such',
        'weights: the like of it is NOT TO BE EXPECTED of this run. To get them, before you train:',
        '',
        *(f'    {_command(path)}' for path in missing),
        '',
        'From scratch on purpose: --cfg-options model.backbone.init_cfg=None',
    ]
    return '\n'.join(['', _FRAME, *(f'!!  {line}'.rstrip() for line in lines), _FRAME])


def _command(path: str) -> str:
    folder, name = osp.split(path)
    dest = '' if folder == 'weights' else f' --dest {quote(folder)}'
    return f'python tools/weights.py fetch {osp.splitext(name)[0]}{dest}'


def settle_weights(cfg: Config, trains: bool = True) -> list[str]:
    """Settle once, for several runs, whether weights that may be missing are there.

    The ``init_cfg`` of a file that is missing is removed, and one that is there may not be missing
    any more. So all runs of a config start alike.

    Args:
        cfg (Config): Changed in place.
        trains (bool): Whether the runs train. If not they need no weights, and the ``init_cfg`` is
            removed in any case. Defaults to True.

    Returns:
        list[str]: Files that are missing; empty if nothing is trained, or training starts from
        ``load_from``.

    Example:
        >>> init = dict(type='Pretrained', checkpoint='no/a.pth')
        >>> cfg = Config(dict(model=dict(init_cfg=init), optional_weights=['no/a.pth']))
        >>> settle_weights(cfg), cfg.model
        (['no/a.pth'], {})
    """
    optional = cfg.get('optional_weights') or []
    missing: dict[str, None] = {}

    def visit(node: Any) -> None:
        if isinstance(node, dict):
            path = _optional_file(node.get('init_cfg'), optional)
            if path is not None and not (trains and osp.isfile(path)):
                missing[path] = None
                del node['init_cfg']
            for value in node.values():
                visit(value)
        elif isinstance(node, (list, tuple)):
            for value in node:
                visit(value)

    visit(cfg.get('model'))
    cfg.pop('optional_weights', None)
    return list(missing) if trains and not cfg.get('load_from') else []


def _optional_file(init_cfg: Any, optional: list[str]) -> str | None:
    """The file of an ``init_cfg``, if it is one of those that may be missing."""
    if isinstance(init_cfg, Mapping) and init_cfg.get('type') == 'Pretrained':
        path = init_cfg.get('checkpoint')
        return path if path in optional else None
    return None


def describe_initial_weights(runner: Runner) -> str:
    """Say in a few words what a training starts from.

    Args:
        runner (Runner): A runner whose model is initialised.

    Returns:
        str: Such as ``'from scratch'`` or ``'backbone from a.pth (sha256 0123456789ab)'``.
    """
    if runner.iter:
        return f'from iteration {runner.iter:,}'
    if runner._load_from:
        return f'from {_named(runner._load_from)}'
    found = []
    for name, module in unwrap_model(runner.model).named_modules():
        init = getattr(module, 'init_cfg', None) or []
        for cfg in [init] if isinstance(init, Mapping) else init:
            if cfg.get('type') == 'Pretrained':
                found.append(f'{name or "model"} from {_named(cfg["checkpoint"])}')
    return ', '.join(found) or 'from scratch'


def _named(path: str) -> str:
    if not osp.isfile(path):  # an address
        return path
    return f'{osp.basename(path)} (sha256 {sha256_of(path)[:12]})'


@HOOKS.register_module(force=True)
class InitialWeightsHook(Hook):
    """Let a training start without weights that may be missing, and say so loudly.

    It works on the model before mmengine initialises it, so that a config behaves alike in this
    project's tools and in MMDetection's. A run that resumes needs no weights and hears nothing of
    them; one with ``load_from`` takes what is there.

    Example:
        >>> InitialWeightsHook().missing
        []
    """

    priority = 'HIGHEST'  # before StrictLoadHook reads the files

    def __init__(self) -> None:
        self.missing: list[str] = []

    def before_run(self, runner: Runner) -> None:
        """Give modules whose weights are missing the start that they have without an ``init_cfg``.

        Args:
            runner (Runner): The runner that starts to train or to test.
        """
        optional = runner.cfg.get('optional_weights') or []
        if not optional or not isinstance(runner._train_loop, BaseLoop):
            return
        resumes = _resumes(runner)
        self.missing = []
        for name, module in list(unwrap_model(runner.model).named_modules()):
            path = _optional_file(getattr(module, 'init_cfg', None), optional)
            if path is None or (osp.isfile(path) and not resumes):
                continue
            module.init_cfg = _default_init(runner.cfg.model, name)
            if not resumes and not runner._load_from:
                self.missing.append(path)
        self._say(runner)

    def after_train(self, runner: Runner) -> None:
        """Say it again where the results are.

        Args:
            runner (Runner): The runner that has trained.
        """
        self._say(runner, 'THIS RUN STARTED FROM SCRATCH')

    def _say(self, runner: Runner, *title: str) -> None:
        if self.missing:  # other processes than the first do not log warnings
            runner.logger.log(logging.WARNING, from_scratch_message(self.missing, *title))


def _resumes(runner: Runner) -> bool:
    # as mmengine decides it
    return bool(runner._resume and (runner._load_from or find_latest_checkpoint(runner.work_dir)))


def _default_init(model_cfg: Mapping, name: str) -> Any:
    """What a module of the model has as ``init_cfg`` if its config has none."""
    node: Any = model_cfg
    for part in name.split('.') if name else []:
        node = node.get(part) if isinstance(node, Mapping) else None
    if not isinstance(node, Mapping):  # made by another part of the model, under another name
        return None
    plain = {key: value for key, value in node.items() if key != 'init_cfg'}
    # numbers drawn for a module that is thrown away must not change the run's
    with torch.random.fork_rng(devices=[]):
        module: nn.Module = MODELS.build(plain)
    return getattr(module, 'init_cfg', None)
