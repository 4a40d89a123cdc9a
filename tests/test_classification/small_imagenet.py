# SPDX-License-Identifier: Apache-2.0
"""A generated folder of images, and a config that learns it in seconds."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config
from small_voc import ROOT

CLASSES = ('disc', 'square', 'stripes')
SIZE = 64


def draw(kind: int, rng: np.random.Generator) -> np.ndarray:
    """An image whose shape and colour belong to its class, on noise."""
    height, width = rng.integers(70, 100, size=2)
    image = rng.integers(0, 90, size=(height, width, 3)).astype(np.uint8)
    colour = [60, 60, 60]
    colour[kind] = 230
    x, y = int(width * rng.uniform(0.4, 0.6)), int(height * rng.uniform(0.4, 0.6))
    if kind == 0:
        cv2.circle(image, (x, y), 28, colour, -1)
    elif kind == 1:
        cv2.rectangle(image, (x - 24, y - 24), (x + 24, y + 24), colour, -1)
    else:
        image[::6] = colour
    return image


def make_small_imagenet(root: Path, train: int = 12, val: int = 5) -> Path:
    """Write ``train`` and ``val`` images of each class."""
    rng = np.random.default_rng(0)
    for split, number in (('train', train), ('val', val)):
        for kind in range(len(CLASSES)):
            folder = root / split / f'n{kind:08d}'
            folder.mkdir(parents=True)
            for index in range(number):
                cv2.imwrite(str(folder / f'{index}.png'), draw(kind, rng))
    return root


def small_config(name: str, root: Path, epochs: int, interval: int, random: bool = True) -> Config:
    """A config of ``configs/imagenet`` at 64 pixels, on the set above.

    Checkpoints are few, since each prints the config, which is slow. Without
    ``random`` every epoch sees the same images in another order, so that a
    resumed run can be compared with one that went through.
    """
    cfg = Config.fromfile(ROOT / 'configs' / 'imagenet' / name)
    model = cfg.model
    model.data_preprocessor.num_classes = model.head.num_classes = 3
    model.head.loss.num_classes = 3
    model.backbone.norm_cfg.momentum = 0.5  # statistics within a few steps
    test_pipeline = cfg.test_dataloader.dataset.pipeline
    test_pipeline[1].scale, test_pipeline[2].crop_size = SIZE + 8, SIZE
    train_pipeline = cfg.train_dataloader.dataset.pipeline
    for (crop,) in train_pipeline[1].transforms:
        crop.scale, crop.crop_ratio_range = SIZE, (0.6, 1.0)
    if not random:
        cfg.train_dataloader.dataset.pipeline = test_pipeline
        model.head.dropout = 0.0
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(batch_size=12, num_workers=0, persistent_workers=False)
        loader.dataset.data_root = str(root)
        loader.dataset.metainfo = dict(classes=CLASSES)
        loader.dataset.pipeline = loader.dataset.pipeline
    cfg.val_evaluator.topk = cfg.test_evaluator.topk = model.head.topk = (1,)
    cfg.train_cfg.update(max_epochs=epochs, val_interval=epochs)
    warm_up, cosine = cfg.param_scheduler
    warm_up.end = cosine.begin = 1
    cosine.end, cosine.T_max = epochs, epochs - 1
    cfg.optim_wrapper.optimizer.lr = 0.02  # the batch is smaller, too
    cfg.default_hooks.checkpoint.interval = interval
    cfg.default_hooks.logger.interval = 1
    cfg.log_processor.window_size = 1
    return cfg
