# SPDX-License-Identifier: Apache-2.0
"""A few crops, and configs that search and train on them in a second."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config
from small_voc import ROOT, make_small_voc

from mmdet_mobilenext.engine.config import load_config
from mmdet_mobilenext.search.crops import make_crops

CONFIGS = ROOT / 'configs' / 'search'
OPERATIONS = ('none', 'skip_connect', 'max_pool_3x3', 'sandglass_3x3')


def make_small_crops(folder: Path) -> Path:
    """Crops of a generated set of a few images."""
    voc = make_small_voc(folder / 'VOCdevkit', train=14, val=0, test=4)
    classes = load_config(str(CONFIGS / 'cells_small.py'), import_custom_modules=False).classes
    test_list = 'VOC2007/ImageSets/Main/test.txt'
    return make_crops(voc, folder / 'crops', classes=classes, test_list=test_list)


def small_search(crops: Path, **options: object) -> Config:
    """Two epochs of two steps over a few operations."""
    small = {
        'data_root': str(crops),
        'model.network.backbone.operations': OPERATIONS,
        'model.network.backbone.num_nodes': 1,
        'model.network.head.in_channels': 48,
        'train_dataloader.batch_size': 4,
        'default_hooks.logger.interval': 1,
        **options,
    }
    return load_config(str(CONFIGS / 'darts_sandglass_small.py'), small)


def small_training(crops: Path) -> Config:
    """One epoch of the final training."""
    small = {
        'data_root': str(crops),
        'model.head.in_channels': 48,
        'train_dataloader.batch_size': 4,
        'default_hooks.logger.interval': 1,
    }
    return load_config(str(CONFIGS / 'cells_small.py'), small)
