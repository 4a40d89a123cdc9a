# SPDX-License-Identifier: Apache-2.0
"""What is checked of each config of a comparison before any work."""

from __future__ import annotations

from collections.abc import Sequence

from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from mmdet_mobilenext.checkpoints.safe_loading import load_safely
from mmdet_mobilenext.checkpoints.strict import compare_state_dicts, weights_in_checkpoint
from mmdet_mobilenext.datasets.checks import check_dataset_cfgs
from mmdet_mobilenext.engine.environment import check_environment
from mmdet_mobilenext.engine.train import check_load_from, check_num_classes

from .errors import BenchmarkError
from .fingerprint import differences, flatten_config

__all__ = ['check_config', 'check_written_config']


def check_config(
    path: str, cfg: Config, checkpoints: Sequence[str]
) -> dict[str, tuple[str, ...] | None]:
    """Build the model, look at data and checkpoints.

    Args:
        path (str): Config file, for messages.
        cfg (Config): What it holds.
        checkpoints (Sequence[str]): Local files of trained weights; empty if it is trained.

    Returns:
        dict[str, tuple[str, ...] | None]: The classes that each checkpoint says it knows.

    Raises:
        BenchmarkError: If it cannot be built or written, or its training would leave nothing.
        CheckpointKeyError: If a checkpoint does not fill the model.
        DataCheckError: If a data set has an error.
        FileNotFoundError: If a file is missing.
    """
    for checkpoint in checkpoints:
        check_load_from(checkpoint)
    roles = ('test',) if checkpoints else ('train', 'val', 'test')
    check_environment(cfg)
    check_load_from(cfg.get('load_from'))
    check_num_classes(cfg, roles)
    check_dataset_cfgs(cfg, roles=roles).raise_if_bad()
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    check_written_config(path, cfg)
    hooks = cfg.get('default_hooks') or {}
    if not checkpoints and 'checkpoint' in hooks and hooks['checkpoint'] is None:
        raise BenchmarkError(
            f'{path} switches checkpoints off (default_hooks.checkpoint = None), so its training '
            'would leave nothing to test'
        )
    try:
        model = MODELS.build(cfg.model)
    except Exception as error:  # whatever a broken config makes a constructor raise
        raise BenchmarkError(
            f'the model of {path} cannot be built: {type(error).__name__}: {error}'
        ) from error
    return {checkpoint: _check_checkpoint(model, checkpoint, path) for checkpoint in checkpoints}


def check_written_config(path: str, cfg: Config) -> None:
    """Each run reads its config from a file: what is read must be what was written.

    Args:
        path (str): Config file, for the message.
        cfg (Config): What it holds.

    Raises:
        BenchmarkError: If something in it cannot be written and read again.

    Example:
        >>> check_written_config('a.py', Config(dict(model=dict(type='MobileNeXt'))))
    """
    try:
        again = Config.fromstring(cfg.dump(), '.py')
        changed = differences(flatten_config(cfg), flatten_config(again))
    except Exception as error:  # whatever the formatter or the parser raises
        changed = [f'{type(error).__name__}: {error}']
    if changed:
        raise BenchmarkError(
            f'{path} holds something that cannot be written to a config file and read again (a '
            f'function, a class, an array): {"; ".join(changed)}. Use numbers, texts and types by '
            'name'
        )


def _check_checkpoint(model: nn.Module, path: str, config: str) -> tuple[str, ...] | None:
    checkpoint = load_safely(path, map_location='cpu')
    weights = weights_in_checkpoint(checkpoint, path)
    compare_state_dicts(model, weights).raise_if_bad(f'{path} and the model of {config}')
    meta = checkpoint.get('meta') or {}
    theirs = (meta.get('dataset_meta') or {}).get('classes')
    return None if theirs is None else tuple(theirs)
