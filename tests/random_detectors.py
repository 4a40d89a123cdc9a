# SPDX-License-Identifier: Apache-2.0
"""Detectors with random weights to be exported, and what MMDetection predicts with them."""

from __future__ import annotations

import copy
import functools

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.model import BaseModel
from torch.nn.modules.batchnorm import _BatchNorm

from mmdet_mobilenext.engine.config import load_config
from mmdet_mobilenext.engine.model_checks import build_model
from mmdet_mobilenext.export.settings import input_size


@functools.cache
def _load(path):
    return load_config(str(path))


def load(path):
    """A config, read once."""
    return copy.deepcopy(_load(path))


def noise(number, size, seed=0):
    """Smooth images, (number, H, W, 3) uint8, BGR: unsmooth ones all look the same."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.integers(0, 256, (number, 3, 7, 7)).astype(np.float32))
    fine = torch.nn.functional.interpolate(coarse, (size[1], size[0]), mode='bicubic')
    return fine.round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


@torch.no_grad()
def random_detector(cfg, size=None):
    """A detector whose norms matter and whose scores are spread, as if it was trained."""
    model = build_model(cfg)
    size = size or input_size(cfg)
    generator = torch.Generator().manual_seed(3)
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    momentum = [norm.momentum for norm in norms]
    for norm in norms:
        norm.weight.uniform_(0.5, 1.5, generator=generator)
        norm.bias.normal_(0, 0.3, generator=generator)
        norm.momentum = 1.0
        norm.train()
    images = torch.from_numpy(noise(4, size)).permute(0, 3, 1, 2)
    data = model.data_preprocessor(dict(inputs=list(images), data_samples=None))['inputs']
    head, levels = model.bbox_head, model.extract_feat(data)
    model.eval()
    for norm, value in zip(norms, momentum, strict=True):
        norm.momentum = value
        # of channels that are dead or nearly so: rounding would grow in them
        norm.running_var.clamp_(min=0.1 * float(norm.running_var.mean()))
    for maps, branches, spread in zip(
        head(levels), (head.cls_convs, head.reg_convs), (2.0, 0.7), strict=True
    ):
        for values, branch in zip(maps, branches, strict=True):
            last = [m for m in branch.modules() if isinstance(m, torch.nn.Conv2d)][-1]
            last.weight.mul_(spread / values.std())
            last.bias.normal_(0, 0.5, generator=generator)
    return model


@torch.no_grad()
def predict(model: BaseModel, images: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """Boxes, scores and labels of what the test pipeline packs for images of the input's size."""
    height, width = images.shape[1:3]
    meta = dict(img_shape=(height, width), ori_shape=(height, width), scale_factor=(1.0, 1.0))
    samples = [DetDataSample(metainfo=meta) for _ in images]
    tensors = [torch.from_numpy(image).permute(2, 0, 1) for image in images]
    found = model.test_step(dict(inputs=tensors, data_samples=samples))
    instances = [sample.pred_instances for sample in found]
    return [(i.bboxes.numpy(), i.scores.numpy(), i.labels.numpy()) for i in instances]


def share_found(wanted, found, box=0.5, score=1e-3) -> float:
    """Share of detections that were found, in lists of images.

    Not of all: rounding decides of two boxes whose IoU is that of NMS.
    """
    hits = []
    for (boxes, scores, labels), others in zip(wanted, found, strict=True):
        for one, value, label in zip(boxes, scores, labels, strict=True):
            same = (others[2] == label) & (np.abs(others[1] - value) < score)
            hits.append(same.any() and np.abs(others[0][same] - one).max(1).min() < box)
    assert len(hits) >= 20 * len(wanted), 'too few detections to compare'
    return float(np.mean(hits))


def save_checkpoint(model, path, **meta):
    """The weights as a run writes them."""
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return str(path)
