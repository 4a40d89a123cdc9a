# SPDX-License-Identifier: Apache-2.0
"""SSDLite configs: what the pairs share, and the published schedules."""

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from small_voc import ROOT

PAIR = ('mobilenext', 'mobilenetv2')
VARIANTS = ('voc', '4xb24_voc', 'voc07', 'ours_voc', 'ours_4xb24_voc')


def flatten(node, prefix=''):
    """Nested dicts to {dotted key: value}."""
    if not isinstance(node, dict):
        return {prefix: node}
    flat = {}
    for key, value in node.items():
        flat.update(flatten(value, f'{prefix}.{key}' if prefix else key))
    return flat


@pytest.mark.parametrize('variant', VARIANTS)
def test_a_pair_differs_only_in_backbone_extras_and_head_inputs(configs, variant):
    first, second = (
        flatten(Config.fromfile(configs / f'ssdlite_{name}_{variant}.py').to_dict())
        for name in PAIR
    )
    different = {k for k in first.keys() | second.keys() if first.get(k) != second.get(k)}
    allowed = (
        'model.backbone.',
        'model.neck.in_channels',
        'model.neck.out_channels',
        'model.neck.tap_indices',
        'model.neck.expand_ratios',
        'model.neck.extra_type',
        'model.bbox_head.in_channels',
    )
    assert different and all(key.startswith(allowed) for key in different), different


def learning_rates(cfg, iterations):
    """Learning rate of every iteration, by mmengine's own schedulers."""
    model = torch.nn.Linear(1, 1)
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    schedulers = [
        PARAM_SCHEDULERS.build(dict(s, optimizer=optim_wrapper)) for s in cfg.param_scheduler
    ]
    rates = []
    for _ in range(iterations):
        rates.append(optim_wrapper.param_groups[0]['lr'])
        optim_wrapper.optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return rates


@pytest.mark.slow
@pytest.mark.parametrize(
    ('variant', 'base', 'factor', 'warm_up', 'steps', 'iterations'),
    [
        ('voc', 1e-3, 1 / 3, 500, (160_000, 200_000), 240_000),
        ('4xb24_voc', 4e-3, 0.1333, 1000, (40_000, 50_000), 60_000),
    ],
)
@pytest.mark.parametrize('name', PAIR)
def test_published_schedule(configs, name, variant, base, factor, warm_up, steps, iterations):
    cfg = Config.fromfile(configs / f'ssdlite_{name}_{variant}.py')
    assert cfg.train_cfg.max_iters == iterations
    assert cfg.optim_wrapper.optimizer == dict(type='SGD', lr=base, momentum=0.9, weight_decay=5e-4)
    assert cfg.train_dataloader.batch_size == 24
    t = torch.arange(iterations, dtype=torch.float64)
    ramp = torch.where(t < warm_up, factor * (1 - t / warm_up) + t / warm_up, 1.0)
    passed = sum((t >= step).double() for step in steps)
    expected = base * ramp * 0.1**passed
    actual = torch.tensor(learning_rates(cfg, iterations), dtype=torch.float64)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('variant', 'base', 'factor', 'warm_up', 'iterations'),
    [('voc', 1e-3, 1 / 3, 500, 240_000), ('4xb24_voc', 4e-3, 0.1333, 1000, 60_000)],
)
def test_own_recipe_is_the_published_one_with_a_cosine(
    configs, variant, base, factor, warm_up, iterations
):
    own, published = (
        Config.fromfile(configs / f'ssdlite_mobilenext_{name}{variant}.py')
        for name in ('ours_', '')
    )
    actual = torch.tensor(learning_rates(own, iterations), dtype=torch.float64)
    t = torch.arange(iterations, dtype=torch.float64)
    ramp = torch.where(t < warm_up, factor * (1 - t / warm_up) + t / warm_up, 1.0)
    cosine = 0.01 + 0.99 * (1 + torch.cos(torch.pi * t / iterations)) / 2
    torch.testing.assert_close(actual, base * ramp * cosine, rtol=1e-4, atol=0)
    own, published = own.to_dict(), published.to_dict()
    assert [key for key in own.keys() | published if own.get(key) != published.get(key)] == [
        'param_scheduler'
    ]


def test_published_recipe(configs):
    cfg = Config.fromfile(configs / 'ssdlite_mobilenext_voc.py')
    train = cfg.train_dataloader.dataset
    assert train.ignore_keys == ['dataset_type']
    assert [d.ann_file for d in train.datasets] == [
        f'VOC{year}/ImageSets/Main/trainval.txt' for year in (2007, 2012)
    ]
    # No bbox_min_size, no filter: nothing vanishes from training.
    assert all('filter_cfg' not in d for d in train.datasets)
    assert cfg.test_dataloader.dataset.ann_file == 'VOC2007/ImageSets/Main/test.txt'
    assert cfg.test_dataloader.sampler.round_up is False
    assert cfg.test_evaluator == dict(type='VOCMetric', metric='mAP', eval_mode='11points')
    test_cfg = cfg.model.test_cfg
    assert (test_cfg.score_thr, test_cfg.nms.iou_threshold, test_cfg.max_per_img) == (
        0.01,
        0.45,
        100,
    )
    assert test_cfg.nms_pre >= 3234 * 20
    preprocessor = cfg.model.data_preprocessor
    assert preprocessor.mean == [123, 117, 104] and preprocessor.bgr_to_rgb
    assert preprocessor.std == [58.395, 57.12, 57.375]


def test_data_root_from_the_environment(configs, monkeypatch):
    monkeypatch.setenv('VOC_DATA_ROOT', 'elsewhere/VOCdevkit')
    cfg = Config.fromfile(configs / 'ssdlite_mobilenext_voc.py')
    roots = {d.data_root for d in cfg.train_dataloader.dataset.datasets}
    assert roots | {cfg.test_dataloader.dataset.data_root} == {'elsewhere/VOCdevkit'}


def test_data_root_from_the_command_line(configs):
    from mmdet_mobilenext.engine.config import load_config

    path = str(configs / 'ssdlite_mobilenext_voc.py')
    cfg = load_config(path, {'data_root': 'other'})
    roots = {d.data_root for d in cfg.train_dataloader.dataset.datasets}
    assert roots | {cfg.val_dataloader.dataset.data_root} == {'other'}
    assert load_config(path).train_dataloader.dataset.datasets[0].data_root == 'data/VOCdevkit'
    with pytest.raises(FileNotFoundError, match=r'no config file .nowhere\.py'):
        load_config('nowhere.py')


def test_data_set_with_a_root_of_its_own_is_named(configs, tmp_path):
    from mmdet_mobilenext.engine.config import load_config
    from mmdet_mobilenext.engine.environment import OptionError

    base = configs / 'ssdlite_mobilenext_demo.py'
    own = tmp_path / 'own.py'
    own.write_text(f"_base_ = '{base}'\ntrain_dataloader = dict(dataset=dict(data_root='mine'))\n")
    with pytest.raises(OptionError, match=r"train_dataloader\.dataset\.data_root='mine'"):
        load_config(str(own), {'data_root': 'other'})


def all_resizes(node):
    """Scales of every Resize in a config."""
    if isinstance(node, dict):
        if node.get('type') == 'Resize':
            yield tuple(node['scale'])
        for value in node.values():
            yield from all_resizes(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from all_resizes(value)


@pytest.mark.parametrize('name', sorted(p.name for p in (ROOT / 'configs').glob('*.py')))
def test_every_resize_is_the_input_size_of_the_priors(configs, name):
    cfg = Config.fromfile(configs / name)
    size = cfg.model.bbox_head.anchor_generator.input_size
    parts = ('train_dataloader', 'val_dataloader', 'test_dataloader', 'tta_pipeline')
    for part in parts:
        assert set(all_resizes(cfg[part])) == {(size, size)}, part


def test_hooks_stay_when_a_config_has_its_own(configs, tmp_path):
    own = tmp_path / 'own.py'
    base = configs / 'ssdlite_mobilenext_demo.py'
    own.write_text(f"_base_ = '{base}'\ncustom_hooks = [dict(type='EMAHook')]\n")
    hooks = {h.type for h in Config.fromfile(own).default_hooks.values()}
    assert {'RunHeaderHook', 'NonFiniteLossHook', 'MemoryFormatHook', 'StrictLoadHook'} <= hooks
