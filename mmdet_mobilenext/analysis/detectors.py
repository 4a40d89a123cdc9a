# SPDX-License-Identifier: Apache-2.0
"""From a config to the parts of a detector that are looked at."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from mmdet.models.task_modules import AnchorGenerator
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from mmdet_mobilenext.benchmark.speed.config_edits import drop_pretrained, find
from mmdet_mobilenext.engine.environment import OptionError
from mmdet_mobilenext.engine.model_checks import dense_head, load_weights
from mmdet_mobilenext.engine.run_header_hook import input_shape_of

__all__ = [
    'LevelPriors',
    'build_detector',
    'input_size',
    'prior_generator_of',
    'priors_of',
]


def build_detector(cfg: Config, checkpoint: str | None = None) -> nn.Module:
    """Build the model of a config.

    Args:
        cfg (Config): Config of a run.
        checkpoint (str, optional): Weights, which must match key by key. Defaults to None: random
            ones; files that an ``init_cfg`` names are not read.

    Returns:
        nn.Module: In eval mode, on the CPU.

    Raises:
        CheckpointKeyError: If the weights do not fill it.
        FileNotFoundError: If there is no such checkpoint.

    Example:
        >>> from mmdet_mobilenext.benchmark.speed.lineup import be_quiet
        >>> be_quiet()
        >>> build_detector(Config(dict(model=dict(type='MobileNeXt', out_indices=(0,))))).layers
        ['layer1']
    """
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    model_cfg = copy.deepcopy(cfg.model)
    drop_pretrained(model_cfg)
    model = MODELS.build(model_cfg)
    if checkpoint is None:
        model.init_weights()
    else:
        load_weights(model, checkpoint)
    model.eval()
    return model


def input_size(cfg: Config, size: Sequence[int] | None = None) -> tuple[int, int]:
    """Size of the network's input.

    Args:
        cfg (Config): Config of a run.
        size (Sequence[int], optional): Height and width in pixels, or one number for both, asked
            for by the user. Defaults to None: that of the priors, else of the test pipeline.

    Returns:
        tuple[int, int]: Height and width in pixels.

    Raises:
        OptionError: If it is nowhere to be found, or not positive.

    Example:
        >>> resize = dict(type='Resize', scale=(320, 240))
        >>> input_size(Config(dict(test_dataloader=dict(dataset=dict(pipeline=[resize])))))
        (240, 320)
    """
    if size:
        if min(size) < 1:
            raise OptionError(f'height and width must be 1 or more, but received {list(size)}')
        return (size[0], size[-1])
    priors = find(cfg.get('model'), 'anchor_generator') or {}
    if 'input_size' in priors:
        declared = priors['input_size']
        return (declared, declared) if isinstance(declared, int) else tuple(declared)[::-1]
    pipeline = find(cfg.get('test_dataloader'), 'pipeline') or []
    shape = input_shape_of([t for t in pipeline if isinstance(t, Mapping)])
    if shape is None:
        raise OptionError(
            'neither the priors nor a Resize of the test pipeline tell the size of the input: give '
            '--shape HEIGHT WIDTH'
        )
    return shape


def prior_generator_of(model: nn.Module) -> AnchorGenerator | None:
    """Priors of a detector, if they are boxes.

    Args:
        model (nn.Module): Any model.

    Returns:
        AnchorGenerator | None: None if it has no head with priors, or its priors are points.

    Example:
        >>> prior_generator_of(nn.Module()) is None
        True
    """
    try:
        generator = dense_head(model).prior_generator
    except OptionError:
        return None
    return generator if isinstance(generator, AnchorGenerator) else None


@dataclass(frozen=True)
class LevelPriors:
    """All priors of a detector.

    Attributes:
        boxes (Tensor): (P, 4), xyxy in pixels of the network's input.
        levels (Tensor): (P,) int64, level of each.
        cells (tuple[tuple[int, int], ...]): Height and width of each level.
        size (tuple[int, int]): Height and width of the input in pixels.
    """

    boxes: Tensor
    levels: Tensor
    cells: tuple[tuple[int, int], ...]
    size: tuple[int, int]


@torch.no_grad()
def priors_of(model: nn.Module, size: tuple[int, int]) -> LevelPriors:
    """Priors of a detector for one size of input.

    Args:
        model (nn.Module): Detector in eval mode.
        size (tuple[int, int]): Height and width of the input in pixels.

    Returns:
        LevelPriors: In the order of the head.

    Raises:
        OptionError: If its priors are no boxes, or were made for another size.
    """
    generator = dense_head(model).prior_generator
    cells = tuple(tuple(f.shape[-2:]) for f in model.extract_feat(torch.zeros(1, 3, *size)))
    if hasattr(generator, 'check_featmap_sizes'):
        try:
            generator.check_featmap_sizes(cells, size)
        except ValueError as error:
            raise OptionError(str(error)) from error
    grids = generator.grid_priors(cells, device='cpu')
    if grids[0].shape[-1] != 4:
        raise OptionError(
            f'the priors of {type(generator).__name__} are points, not boxes: they have no IoU'
        )
    levels = torch.repeat_interleave(
        torch.arange(len(grids)), torch.tensor([len(grid) for grid in grids])
    )
    return LevelPriors(torch.cat(grids), levels, cells, size)
