# SPDX-License-Identifier: Apache-2.0
"""Whether converted weights fill the network that they are meant for."""

from __future__ import annotations

from pathlib import Path

from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from mmdet_mobilenext.checkpoints.strict import check_checkpoint_for_model, check_pretrained_init

from .index import WeightsEntry

__all__ = ['check_fits']


def check_fits(entry: WeightsEntry, path: Path) -> int:
    """Compare every key and shape with the network of the entry's config.

    Args:
        entry (WeightsEntry): What the file is of.
        path (Path): Converted weights.

    Returns:
        int: Keys that match.

    Raises:
        CheckpointKeyError: If the file does not fill the network; lists every key.
        CheckpointFileError, UnsafeCheckpointError: If it cannot be read, or not safely.
    """
    cfg = Config.fromfile(entry.initialises or entry.config)
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    if entry.initialises is None:
        return check_checkpoint_for_model(MODELS.build(cfg.model), str(path)).matched
    init = dict(type='Pretrained', checkpoint=str(path), prefix='backbone.')
    backbone = MODELS.build({**cfg.model.backbone, 'init_cfg': init})
    reports = check_pretrained_init(nn.ModuleDict(dict(backbone=backbone)))
    return sum(report.matched for report in reports.values())
