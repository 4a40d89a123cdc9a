# SPDX-License-Identifier: Apache-2.0
"""What docs/blocks.md shows: its code runs, and its links exist."""

import re

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.hub import get_config
from small_voc import ROOT

from mmdet_mobilenext.benchmark.speed import make_batch
from mmdet_mobilenext.models import MobileNeXt, SandglassVariantBlock

GUIDE = (ROOT / 'docs' / 'blocks.md').read_text(encoding='utf-8')
VARIANT, RESNET, SWAP = re.findall(r'```python\n(.*?)```', GUIDE, re.S)


def run(code):
    names = {'__name__': 'guide'}
    exec(code, names)
    return names


def test_config_of_the_variants():
    net = MODELS.build(run(VARIANT)['model']['backbone'])
    assert isinstance(net, MobileNeXt)
    block = net.layer3[1]
    assert isinstance(block, SandglassVariantBlock)
    assert (block.form, block.identity_channels) == ('full', 96)


def test_resnet_of_sandglass_blocks_in_a_detector_of_mmdet():
    cfg = get_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py')
    published = MODELS.build(Config._merge_a_into_b(dict(backbone=dict(init_cfg=None)), cfg.model))
    block = run(RESNET)['SandglassBottleneck']
    detector = MODELS.build(Config._merge_a_into_b(run(SWAP)['model'], cfg.model))
    blocks = [m for m in detector.backbone.modules() if isinstance(m, block)]
    assert len(blocks) == 16
    assert sum(b.identity_channels > 0 for b in blocks) == 12
    batch = make_batch(2, 64, num_classes=80)
    data = detector.data_preprocessor(batch, True)
    with torch.no_grad():
        shapes = [
            [f.shape for f in d.eval().extract_feat(data['inputs'])] for d in (published, detector)
        ]
    assert shapes[0] == shapes[1]
    losses = detector.train().loss(data['inputs'], data['data_samples'])
    detector.parse_losses(losses)[0].backward()
    trained = {n: p for n, p in detector.named_parameters() if p.requires_grad}
    assert [n for n, p in trained.items() if p.grad is None] == []
    with pytest.raises(ValueError, match='no dilation, dcn or plugins'):
        block(64, 64, dilation=2)


def test_paths_of_the_guide_exist():
    links = [f'docs/{link}' for link in re.findall(r'\]\(([^)#:]+)\)', GUIDE)]
    paths = re.findall(r'\b((?:configs|tools|tests)/[\w./-]*\w)', GUIDE)
    assert links and paths
    assert [p for p in {*links, *paths} if not list(ROOT.glob(f'{p}*'))] == []
