# SPDX-License-Identifier: Apache-2.0
"""The block comparison: configs that differ in the block alone, train, and cost what is told."""

import re

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from small_voc import ROOT

from mmdet_mobilenext.benchmark.fingerprint import flatten_config
from mmdet_mobilenext.benchmark.speed import make_batch
from mmdet_mobilenext.engine.complexity import count_madds, count_parameters

FOLDER = ROOT / 'configs' / 'ablation'
BASELINES = ('sandglass_small160_30e_voc07.py', 'sandglass_demo.py')
END = '_small160_30e_voc07.py'
NAMES = sorted(p.name for p in FOLDER.glob('*.py'))


def told_counts():
    """Parameters and multiply-adds of the table in docs/blocks.md."""
    counts = {}
    for line in (ROOT / 'docs' / 'blocks.md').read_text(encoding='utf-8').splitlines():
        if found := re.match(r'\| (`[^|]*`) \| ([\d,]+) \| ([\d,]+) \|', line):
            numbers = [int(number.replace(',', '')) for number in found.groups()[1:]]
            counts |= {name + END: numbers for name in re.findall(r'`([^`]+)`', found[1])}
    return counts


def baseline_of(name):
    return next(b for b in BASELINES if name.endswith(b.removeprefix('sandglass')))


@pytest.mark.parametrize('name', [n for n in NAMES if n not in BASELINES])
def test_only_the_block_differs(name):
    own, base = (flatten_config(Config.fromfile(FOLDER / n)) for n in (name, baseline_of(name)))
    different = {k for k in own.keys() | base.keys() if own.get(k) != base.get(k)}
    allowed = ('model.backbone.block_cfg.', 'model.backbone.identity_tensor_multiplier')
    if 'width' in name:
        # channels that follow from the width
        allowed += (
            'model.backbone.widen_factor',
            'model.neck.in_channels',
            'model.neck.out_channels',
            'model.bbox_head.in_channels',
        )
    assert different and all(key.startswith(allowed) for key in different), different


@pytest.mark.parametrize('name', NAMES)
def test_train_step_prediction_and_cost(name):
    cfg = Config.fromfile(FOLDER / name)
    detector = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(detector, cfg.optim_wrapper)
    size = cfg.model.bbox_head.anchor_generator.input_size
    batch = make_batch(2, size, cfg.model.bbox_head.num_classes)
    detector.train()
    data = detector.data_preprocessor(batch, True)
    loss, logged = detector.parse_losses(detector._run_forward(data, mode='loss'))
    assert all(torch.isfinite(v) for v in logged.values())
    wrapper.backward(loss)
    assert [n for n, p in detector.named_parameters() if p.grad is None] == []
    before = detector.backbone.conv1.conv.weight.detach().clone()
    wrapper.step()
    assert not torch.equal(detector.backbone.conv1.conv.weight, before)
    with torch.inference_mode():
        results = detector.eval().test_step(batch)
    assert [r.pred_instances.bboxes.shape[1] for r in results] == [4, 4]
    if name.endswith(END):
        counts = [count_parameters(detector), count_madds(detector, (size, size))]
        assert told_counts()[name] == counts


def test_the_table_tells_of_every_config_and_the_wider_one_costs_what_the_baseline_costs():
    told = told_counts()
    assert set(told) == {name for name in NAMES if name.endswith(END)}
    wide, base = (told[f'{n}{END}'][1] for n in ('inverted_residual_width0.55', 'sandglass'))
    assert wide == pytest.approx(base, rel=0.05)
