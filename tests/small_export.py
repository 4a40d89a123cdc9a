# SPDX-License-Identifier: Apache-2.0
"""A small detector with weights that find something, and files exported of it."""

from __future__ import annotations

from pathlib import Path

import torch
from small_voc import ROOT

from mmdet_mobilenext.engine.config import load_config
from mmdet_mobilenext.engine.model_checks import build_model
from mmdet_mobilenext.export import export


def make_detector(folder: Path, voc: Path) -> tuple[str, str]:
    """Config and checkpoint of a detector that was not trained, but has scores of all sizes."""
    cfg = load_config(
        str(ROOT / 'configs' / 'ssdlite_mobilenext_demo.py'), dict(data_root=str(voc))
    )
    cfg.pop('generated_splits')
    cfg.pop('work_dir')
    for role in ('train', 'val', 'test'):
        cfg[f'{role}_dataloader'].update(num_workers=0, persistent_workers=False)
    config = str(folder / 'small.py')
    cfg.dump(config)
    torch.manual_seed(0)
    model = build_model(cfg)
    # statistics of smooth noise: with those of a new network nothing reaches the head
    coarse = torch.randn(8, 3, 9, 9)
    images = torch.nn.functional.interpolate(coarse, cfg.input_size, mode='bilinear')
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.train().momentum = None
    with torch.no_grad():
        model.bbox_head(model.extract_feat(images))
        for branch in model.bbox_head.cls_convs:
            branch[-1].weight.normal_(std=0.05)
    path = folder / 'weights.pth'
    meta = dict(dataset_meta=dict(classes=tuple(cfg.classes)))
    torch.save(dict(meta=meta, state_dict=model.state_dict()), path)
    return config, str(path)


def export_small(detector: tuple[str, str], name: str, **options: object) -> str:
    """A file of it beside the checkpoint."""
    config, checkpoint = detector
    return str(export(config, checkpoint, Path(checkpoint).with_name(name), **options))
