# SPDX-License-Identifier: Apache-2.0
"""What a model tells before its run writes anything: levels, priors, keys of a checkpoint."""

from __future__ import annotations

import contextlib
import copy
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from torch import distributed, nn

from mmdet_mobilenext.checkpoints.strict import (
    CheckpointKeyError,
    compare_state_dicts,
    weights_in_checkpoint,
)

from .config import hooks_of_type
from .environment import OptionError

__all__ = [
    'build_model',
    'check_levels',
    'check_weights',
    'dense_head',
    'load_weights',
    'settle_strict_load',
]


def build_model(cfg: Config) -> nn.Module:
    """Build the model of a config to look at it. The run draws the same numbers all the same.

    Args:
        cfg (Config): Config of the run.

    Returns:
        nn.Module: On the CPU, in eval mode, with random weights.

    Raises:
        OptionError: If a part of the model refuses its arguments with a ``ValueError``.

    Example:
        >>> cfg = Config(dict(model=dict(type='MobileNeXt', out_indices=(0,))))
        >>> build_model(cfg).layers
        ['layer1']
    """
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    with torch.random.fork_rng(devices=[]), _process_group(cfg):
        try:
            return MODELS.build(copy.deepcopy(cfg.model)).eval()
        except ValueError as error:
            raise OptionError(f'the model of the config cannot be built: {error}') from error


@contextlib.contextmanager
def _process_group(cfg: Config) -> Iterator[None]:
    """A group of this process alone, where the run has none yet: MMSyncBN is not built without."""
    needed = cfg.get('launcher', 'none') != 'none' and 'MMSyncBN' in str(cfg.model)
    if not needed or distributed.is_initialized():
        yield
        return
    distributed.init_process_group('gloo', store=distributed.HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def dense_head(model: nn.Module) -> nn.Module:
    """The head that has the priors.

    Args:
        model (nn.Module): Detector of one or two stages.

    Returns:
        nn.Module: ``bbox_head`` or ``rpn_head``.

    Raises:
        OptionError: If neither is a head with priors.

    Example:
        >>> dense_head(nn.Module())
        Traceback (most recent call last):
        ...
        mmdet_mobilenext.engine.environment.OptionError: Module has no head with priors, neither \
bbox_head nor rpn_head: what was asked for needs a detector with priors (anchors)
    """
    for name in ('bbox_head', 'rpn_head'):
        head = getattr(model, name, None)
        if hasattr(getattr(head, 'prior_generator', None), 'grid_priors'):
            return head
    raise OptionError(
        f'{type(model).__name__} has no head with priors, neither bbox_head nor rpn_head: what was '
        'asked for needs a detector with priors (anchors)'
    )


@torch.no_grad()
def check_levels(model: nn.Module) -> None:
    """Compare the strides of the feature levels with those that the priors are made for.

    The levels of a small black image tell their strides. Heads without priors, and those whose
    priors check it themselves at every step, are passed over.

    Args:
        model (nn.Module): Detector in eval mode, on the CPU.

    Raises:
        OptionError: If numbers of levels or strides differ, or the neck takes other channels than
            the backbone hands out.

    Example:
        >>> check_levels(nn.Linear(2, 3))
    """
    try:
        head = dense_head(model)
    except OptionError:
        return
    priors = head.prior_generator
    strides = [max(s) if isinstance(s, tuple) else s for s in getattr(priors, 'strides', [])]
    if not strides or hasattr(priors, 'check_featmap_sizes'):
        return
    # SSD's last levels have the strides of one input size alone
    declared = getattr(priors, 'input_size', None) or 2 * max(strides)
    # strides of YOLACT are no whole numbers
    size = max(declared) if isinstance(declared, (tuple, list)) else math.ceil(declared)
    image = torch.zeros(1, 3, size, size)
    try:
        levels = model.extract_feat(image)
    except Exception as error:  # operators without a CPU, backbones of one input size
        _check_neck_inputs(model, image)
        print_log(
            f'levels of {type(model).__name__} and strides of its priors were not compared '
            f'({type(error).__name__}: {error})',
            logger='current',
            level=logging.WARNING,
        )
        return
    found = [size / max(level.shape[-2:]) for level in levels]
    # convolutions without padding leave fewer cells: only another power of two is another stride
    if len(found) != len(strides) or any(
        round(math.log2(a / b)) for a, b in zip(found, strides, strict=True)
    ):
        raise OptionError(
            f'the feature levels have strides {_numbers(found)}, but the priors of '
            f'{type(head).__name__} are made for strides {_numbers(strides)}: a fragment must be '
            'the one for the levels of the neck (--with ..._fpn: 4 from stride 4 on, ..._pafpn: 3 '
            'from stride 8 on; see docs/swap_backbones.md), and in a config of your own '
            'backbone.out_indices, the neck and the strides of the head change together'
        )


def _check_neck_inputs(model: nn.Module, image: torch.Tensor) -> None:
    """Refuse a neck that was not made for what the backbone hands out, if that is why it fails."""
    expected = getattr(getattr(model, 'neck', None), 'in_channels', None)
    if not isinstance(expected, (list, tuple)):
        return
    try:
        found = [level.shape[1] for level in model.backbone(image)]
    except Exception:  # the backbone itself does not run here
        return
    if found != list(expected):
        raise OptionError(
            f'the {type(model.backbone).__name__} of the config hands out levels of {found} '
            f'channels, but its {type(model.neck).__name__} takes in_channels={list(expected)}: '
            'set neck.in_channels and backbone.out_indices alike (docs/swap_backbones.md)'
        )


def _numbers(values: list[float]) -> str:
    return ', '.join(f'{value:.4g}' for value in values)


def check_weights(model: nn.Module, path: str) -> None:
    """Find out before a run writes anything whether a checkpoint is one of its model.

    Args:
        model (nn.Module): Model of the config.
        path (str): Checkpoint, or a URL, which is not looked at.

    Raises:
        CheckpointKeyError: If a key or shape differs; with numbers and examples, in one line.

    Example:
        >>> check_weights(nn.Linear(2, 3), 'https://example.com/epoch_1-01234567.pth')
    """
    if '://' not in path:
        _matching_checkpoint(model, path)


def load_weights(model: nn.Module, path: str) -> dict[str, Any]:
    """Fill a model, as testing does. mmdet's ``init_detector`` does not mind missing keys.

    Args:
        model (nn.Module): Model of the config, on the CPU.
        path (str): Checkpoint, which must match key by key; read once.

    Returns:
        dict[str, Any]: The checkpoint.

    Raises:
        CheckpointKeyError: If a key or shape differs; with numbers and examples, in one line.
        FileNotFoundError: If there is no such file.

    Example:
        >>> import os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), 'weights.pth')
        >>> torch.save(dict(meta=dict(epoch=2), state_dict=nn.Linear(2, 3).state_dict()), path)
        >>> load_weights(nn.Linear(2, 3), path)['meta']
        {'epoch': 2}
    """
    checkpoint = _matching_checkpoint(model, path)
    # the second half of mmengine's load_checkpoint, which would read the file again
    return _load_checkpoint_to_model(model, checkpoint, strict=True, logger='silent')


def _matching_checkpoint(model: nn.Module, path: str) -> dict[str, Any]:
    checkpoint = CheckpointLoader.load_checkpoint(path, 'cpu', logger='silent')
    report = compare_state_dicts(model, weights_in_checkpoint(checkpoint, path))
    if report.ok:
        return checkpoint
    shapes = [f'{key} {ours} and {theirs}' for key, ours, theirs in report.wrong_shape]
    parts = [
        f'{len(keys)} {what}, such as {keys[0]}'
        for what, keys in (
            ('missing', report.missing),
            ('unexpected', report.unexpected),
            ('with another shape', shapes),
        )
        if keys
    ]
    folder = Path(path).absolute().parent
    written = ', '.join(sorted(p.name for p in folder.glob('*.py'))) or 'none'
    raise CheckpointKeyError(
        f'{path} is a checkpoint of another model than the {type(model).__name__} of the config '
        f'({report.matched} keys match; {"; ".join(parts)}): take the config that its run has '
        f'written into its work folder (beside the checkpoint: {written}), or the same --with and '
        '--cfg-options as that run'
    )


def settle_strict_load(cfg: Config) -> bool:
    """Give a config without a ``StrictLoadHook`` one, such as those of MMDetection.

    Args:
        cfg (Config): Changed in place; ``default_hooks.strict_load=None`` stays as it is.

    Returns:
        bool: Whether loading is strict.

    Example:
        >>> cfg = Config(dict(default_hooks=dict(timer=dict(type='IterTimerHook'))))
        >>> settle_strict_load(cfg), cfg.default_hooks.strict_load, cfg.custom_imports.imports
        (True, {'type': 'StrictLoadHook'}, ['mmdet_mobilenext'])
    """
    if hooks_of_type(cfg, 'StrictLoadHook'):
        return True
    hooks = cfg.get('default_hooks') or {}
    if 'strict_load' in hooks:
        return False
    cfg.default_hooks = {**hooks, 'strict_load': dict(type='StrictLoadHook')}
    # the config in the work folder must know the hook in other tools, too
    known = cfg.get('custom_imports') or dict(imports=[], allow_failed_imports=False)
    names = known['imports']
    names = [names] if isinstance(names, str) else list(names)
    if 'mmdet_mobilenext' not in names:
        cfg.custom_imports = {**known, 'imports': [*names, 'mmdet_mobilenext']}
    return True
