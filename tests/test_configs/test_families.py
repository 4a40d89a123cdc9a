# SPDX-License-Identifier: Apache-2.0
"""Detectors of MMDetection on three backbones: one recipe in a family, and all of them train."""

import itertools

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.logging import MessageHub
from small_voc import ROOT

# Others have tests of their own (test_ablation_configs.py, tests/test_classification,
# tests/test_search).
FAMILIES = sorted(
    str(path.relative_to(ROOT / 'configs'))
    for path in (ROOT / 'configs').glob('*/*.py')
    if path.parent.name not in ('_base_', 'ablation', 'benchmark', 'imagenet', 'search')
)
SSDLITE = sorted(path.name for path in (ROOT / 'configs').glob('*.py'))
BENCHMARK = sorted(
    str(path.relative_to(ROOT / 'configs'))
    for path in (ROOT / 'configs' / 'benchmark').rglob('*.py')
    # MMDetection's SSDHead cannot predict as it is: tests/test_benchmark/test_speed_candidates.py
    if not path.name.startswith('stock_')
)
MOBILE = ('mobilenext', 'mobilenetv2')
REFERENCES = [
    f'{family}_{part}_{data}.py'
    for family, part in (
        ('retinanet/retinanet', '{}_fpn_1x'),
        ('fcos/fcos', '{}_fpn_1x'),
        ('gfl/gfl', '{}_fpn96_1x'),
        ('faster_rcnn/faster-rcnn', '{}_fpn_1x'),
        ('yolox/yolox', '{}_tiny_300e'),
    )
    for data in ('coco', 'voc0712')
]


def reference_of(name):
    backbone = {'gfl': 'r18', 'yolox': ''}.get(name.split('/')[0], 'r50')
    return name.format(backbone).replace('__', '_')


def flatten(node, prefix=''):
    """Nested dicts and lists of dicts to {dotted key: value}."""
    if isinstance(node, dict):
        items = node.items()
    elif isinstance(node, list) and node and all(isinstance(part, dict) for part in node):
        items = enumerate(node)
    else:
        return {prefix: node}
    return {
        k: v
        for key, value in items
        for k, v in flatten(value, f'{prefix}.{key}' if prefix else str(key)).items()
    }


def test_every_config_of_a_family_is_compared():
    names = {name.format(backbone) for name in REFERENCES for backbone in MOBILE}
    names |= {reference_of(name) for name in REFERENCES}
    names |= {f'retinanet/retinanet_{backbone}_fpn_small160_voc07.py' for backbone in MOBILE}
    assert names == set(FAMILIES)


@pytest.mark.parametrize('name', [*REFERENCES, 'retinanet/retinanet_{}_fpn_small160_voc07.py'])
def test_a_family_differs_only_in_backbone_neck_inputs_and_normalisation(load, name):
    first, second = (flatten(load(name.format(backbone)).to_dict()) for backbone in MOBILE)
    allowed = ['model.backbone.', 'model.neck.in_channels', 'model.neck.0.in_channels']
    # the fragments themselves, which mmengine keeps as variables
    allowed += [f'{backbone}_{kind}.' for backbone in MOBILE for kind in ('fpn', 'pafpn')]

    def differences(one, other):
        return {key for key in one.keys() | other if one.get(key) != other.get(key)}

    found = differences(first, second)
    assert found and all(key.startswith(tuple(allowed)) for key in found), found
    if 'small160' in name:
        return
    allowed += [f'model.data_preprocessor.{key}' for key in ('mean', 'std', 'bgr_to_rgb')]
    allowed += ['optional_weights']
    found = differences(first, flatten(load(reference_of(name)).to_dict()))
    assert found and all(key.startswith(tuple(allowed)) for key in found), found


@pytest.mark.parametrize('name', REFERENCES)
def test_mobile_members_start_from_weights_with_their_normalisation(load, name):
    for backbone in MOBILE:
        cfg = load(name.format(backbone))
        init_cfg = cfg.model.backbone.init_cfg
        assert init_cfg.checkpoint == f'weights/{backbone}_1.0_in1k.pth'
        assert init_cfg.checkpoint in cfg.optional_weights
        preprocessor = cfg.model.data_preprocessor
        # as in configs/_base_/models/mobilenext_classifier.py
        assert preprocessor.mean == [123.675, 116.28, 103.53] and preprocessor.bgr_to_rgb
        assert preprocessor.std == [58.395, 57.12, 57.375]


@pytest.mark.parametrize('name', [name.format('mobilenext') for name in REFERENCES])
def test_runtime_and_data_are_this_project_s(load, name):
    cfg = load(name)
    runtime = load('_base_/default_runtime.py')
    types = {key: hook.type for key, hook in cfg.default_hooks.items()}
    assert types == {key: hook.type for key, hook in runtime.default_hooks.items()}
    assert cfg.default_hooks.checkpoint.save_best == 'auto'
    assert cfg.custom_imports == runtime.custom_imports and cfg.data_check == runtime.data_check
    train = cfg.train_dataloader.dataset
    assert train.type != 'RepeatDataset'
    train = train.get('dataset', train)
    if 'voc' in name:
        assert train.ignore_keys == ['dataset_type']
        assert [d.ann_file for d in train.datasets] == [
            f'VOC{year}/ImageSets/Main/trainval.txt' for year in (2007, 2012)
        ]
        # no bbox_min_size, no filter: nothing vanishes from training
        assert all('filter_cfg' not in d for d in train.datasets)
        assert cfg.test_evaluator == dict(
            cfg.test_evaluator, type='VOCMetric', metric='mAP', eval_mode='11points'
        )
    assert cfg.test_dataloader.sampler.round_up is False
    gpus = 8 if 'yolox' in name else 4
    assert cfg.auto_scale_lr.base_batch_size == gpus * cfg.train_dataloader.batch_size


@pytest.mark.parametrize('name', SSDLITE + BENCHMARK + FAMILIES)
def test_all_configs_build_train_and_predict(load, name):
    model = load(name).model
    head = model.get('bbox_head') or model.roi_head.bbox_head
    # an FPN takes any size, priors of SSDLite their own
    size = head.anchor_generator.input_size if name in SSDLITE + BENCHMARK else 64
    if 'roi_head' in model:  # fewer boxes for the second stage, which is the slow part
        model.train_cfg.rcnn.sampler.num = 32
        model.train_cfg.rpn_proposal.max_per_img = model.test_cfg.rpn.max_per_img = 50
    detector = MODELS.build(model).train()
    MessageHub.get_current_instance().update_info('iter', 0)  # YOLOX draws its sizes by it

    def inputs(training):
        data = demo_mm_inputs(2, (3, size, size), num_items=[3, 2], num_classes=21)
        for sample in data['data_samples']:
            sample.gt_instances.labels %= head.num_classes
        return detector.data_preprocessor(data, training)

    loss, _ = detector.parse_losses(detector(**inputs(True), mode='loss'))
    assert loss.isfinite()
    loss.backward()
    trained = [(n, p) for n, p in detector.named_parameters() if p.requires_grad]
    assert [n for n, p in trained if p.grad is None or not p.grad.isfinite().all()] == []
    detector.eval()
    with torch.no_grad():
        results = detector(**inputs(False), mode='predict')
    assert len(results) == 2 and all('scores' in r.pred_instances for r in results)


def test_names_tell_the_backbone(load):
    types = dict(mobilenext='MobileNeXt', mobilenetv2='MobileNetV2')
    for name, backbone in itertools.product(REFERENCES, MOBILE):
        assert load(name.format(backbone)).model.backbone.type == types[backbone]


def test_neck_inputs_are_the_channels_of_the_backbone(load):
    for name in REFERENCES:
        cfg = load(name.format('mobilenext'))
        neck = cfg.model.neck[0] if isinstance(cfg.model.neck, list) else cfg.model.neck
        cfg.model.backbone.pop('init_cfg')
        info = MODELS.build(cfg.model.backbone).feature_info
        assert neck.in_channels == [feature['channels'] for feature in info]
        strides = [4, 8, 16, 32]
        assert [f['stride'] for f in info] == (strides[1:] if 'yolox' in name else strides)
