# SPDX-License-Identifier: Apache-2.0
"""Files of ncnn: of detectors with random weights, and one that is written by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from mmdet_mobilenext.engine.config import load_config
from mmdet_mobilenext.engine.model_checks import build_model
from mmdet_mobilenext.runtime.spec import ModelSpec

CLASSES = ('cat', 'dog')
SIZE = (32, 16)
# Each score is the mean of the pixels times a weight, each box a constant.
HAND_MADE = """7767517
6 6
Input in0 0 1 images 0=32 1=16 2=3
MemoryData boxes 0 1 boxes 0=4 1=3 2=1
MemoryData weights 0 1 weights 0=2 1=3
Reduction mean 1 1 images mean 0=3 1=1
Reshape row 1 1 mean row 0=1 1=1
BinaryOp product 2 1 weights row scores 0=2
"""
BOXES = np.array([[8, 4, 24, 12], [0, 0, 8, 4], [8, 4, 24, 11]], np.float32)
WEIGHTS = np.array([[0, 0.004], [0.002, 0], [0, 0.003]], np.float32)


def make_by_hand(path: Path) -> Path:
    """Finds a dog in the middle and a cat in the corner; of white images with 0.98 and 0.51."""
    path.write_text(HAND_MADE)
    path.with_suffix('.bin').write_bytes(BOXES.tobytes() + WEIGHTS.tobytes())
    spec = ModelSpec(CLASSES, SIZE, 'bgr', 'raw', 0.01, 0.45, 100, batch=1)
    path.with_suffix('.json').write_text(spec.to_json())
    return path


@torch.no_grad()
def make_checkpoint(config: Path, path: Path, options: dict | None = None) -> Path:
    """Random weights whose scores and boxes are spread, as if they were trained."""
    torch.manual_seed(0)
    model = build_model(load_config(str(config), options))
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0  # statistics of these images, without which nothing reaches the head
    images = torch.randn(4, 3, 128, 128)
    model.train()
    model.bbox_head(model.extract_feat(images))
    head, levels = model.bbox_head, model.eval().extract_feat(images)
    for maps, branches, std in zip(
        head(levels), (head.cls_convs, head.reg_convs), (2, 0.7), strict=True
    ):
        for values, branch in zip(maps, branches, strict=True):
            last = [m for m in branch.modules() if isinstance(m, nn.Conv2d)][-1]
            last.weight.mul_(std / values.std())
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return path
