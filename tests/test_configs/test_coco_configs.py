# SPDX-License-Identifier: Apache-2.0
"""Configs for COCO and with an FPN: what the pairs share, and the published recipe of COCO."""

import json
import math
import os

import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, METRICS, PARAM_SCHEDULERS
from PIL import Image

from mmdet_mobilenext.datasets.checks import DataCheckError, check_dataset_cfgs
from mmdet_mobilenext.engine.complexity import count_madds, count_parameters
from mmdet_mobilenext.engine.config import load_config

PAIR = ('mobilenext', 'mobilenetv2')
VARIANTS = ('coco', '8xb32_coco', 'coco2voc', 'fpn_coco', 'fpn_voc')


def read(configs, name, variant):
    return Config.fromfile(configs / f'ssdlite_{name}_{variant}.py')


@pytest.mark.parametrize('variant', VARIANTS)
def test_a_pair_differs_only_in_backbone_extras_and_head_inputs(configs, variant):
    first, second = (read(configs, name, variant).to_dict() for name in PAIR)
    assert first['model'].pop('backbone') != second['model'].pop('backbone')
    necks = [cfg['model'].pop('neck') for cfg in (first, second)]
    assert {k for k in necks[0] if necks[0][k] != necks[1].get(k)} <= {
        'in_channels', 'out_channels', 'tap_indices', 'expand_ratios', 'extra_type'}  # fmt: skip
    for cfg in (first, second):
        cfg['model']['bbox_head'].pop('in_channels')
    assert first == second


class Schedule:
    """Learning rates by mmengine's own schedulers, also from the middle of a training on."""

    def __init__(self, cfg):
        self.wrapper = build_optim_wrapper(torch.nn.Linear(1, 1), cfg.optim_wrapper)
        self.schedulers = [
            PARAM_SCHEDULERS.build(dict(s, optimizer=self.wrapper)) for s in cfg.param_scheduler
        ]

    def rates(self, start, stop, first_rate=None):
        """Rates of the iterations from start on; the first is given if start is not 0."""
        if start:
            self.wrapper.param_groups[0]['lr'] = first_rate
            for scheduler in self.schedulers:
                scheduler.load_state_dict(dict(last_step=start, _global_step=start))
        rates = []
        for _ in range(start, stop):
            rates.append(self.wrapper.param_groups[0]['lr'])
            self.wrapper.step()
            for scheduler in self.schedulers:
                scheduler.step()
        return np.array(rates)


def published_rate(t, base, iterations):
    """WarmupCosLR: the cosine falls during the warm-up as well."""
    ramp = np.where(t < 500, (1 - t / 500) / 3 + t / 500, 1.0)
    return base * ramp * (1 + np.cos(np.pi * t / iterations)) / 2


@pytest.mark.parametrize(
    ('variant', 'base', 'iterations'),
    [('coco', 1e-2, 1_600_000), ('8xb32_coco', 8e-2, 200_000), ('fpn_coco', 1e-2, 1_600_000)],
)
def test_published_schedule(configs, variant, base, iterations):
    """At the begin, which has the warm-up, in the middle and at the end."""
    cfg = read(configs, 'mobilenext', variant)
    assert cfg.train_cfg.max_iters == iterations
    assert cfg.optim_wrapper.optimizer == dict(type='SGD', lr=base, momentum=0.9, weight_decay=4e-5)
    assert cfg.train_dataloader.batch_size == 32
    assert cfg.auto_scale_lr.base_batch_size == 32 * (1_600_000 // iterations) or 'fpn' in variant
    for start in (0, iterations // 2, iterations - 1000):
        t = np.arange(start, start + 1000, dtype=np.float64)
        expected = published_rate(t, base, iterations)
        actual = Schedule(cfg).rates(start, start + 1000, expected[0])
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=base * 1e-12)


@pytest.mark.parametrize('variant', ['coco', '8xb32_coco'])
def test_published_recipe(configs, variant):
    cfg = read(configs, 'mobilenext', variant)
    head, test_cfg = cfg.model.bbox_head, cfg.model.test_cfg
    assert head.num_classes == 80
    assert head.loss_cls == dict(
        type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=5.0
    )
    assert cfg.model.train_cfg.neg_pos_ratio is None
    priors = head.anchor_generator
    assert priors.strides == [16, 32, 64, 120, 160, 320]
    assert priors.min_sizes == [45, 90, 135, 180, 225, 270]
    assert priors.max_sizes == [90, 135, 180, 225, 270, 315]
    assert priors.ratios == [[2, 3]] * 5 + [[2]]
    assert (test_cfg.score_thr, test_cfg.nms.iou_threshold, test_cfg.max_per_img) == (
        0.05, 0.5, 100)  # fmt: skip
    distributed = variant == '8xb32_coco'
    assert cfg.get('sync_bn') == ('torch' if distributed else None)
    assert head.get('sync_num_pos', True) is not distributed
    assert cfg.default_hooks.checkpoint.save_best == 'coco/bbox_mAP'
    voc = Config.fromfile(configs / 'ssdlite_mobilenext_voc.py')
    same = voc.train_dataloader.dataset.datasets[0].pipeline
    assert cfg.train_dataloader.dataset.pipeline == same


@pytest.mark.parametrize('variant', VARIANTS)
def test_nothing_is_cut_before_nms(configs, variant):
    model = read(configs, 'mobilenext', variant).model
    head = MODELS.build(model.bbox_head)
    cells = [math.ceil(320 / stride) ** 2 for stride, _ in head.prior_generator.strides]
    most = max(n * c for n, c in zip(head.num_base_priors, cells, strict=True))
    assert most * head.num_classes <= model.test_cfg.nms_pre


def test_costs_of_the_fpn(configs):
    """Those that docs/reproduce.md tells."""
    counted = {}
    for name in PAIR:
        detector = MODELS.build(read(configs, name, 'fpn_coco').model).eval()
        counted[name] = count_parameters(detector), count_madds(detector, (320, 320))
    assert counted == dict(mobilenext=(3604520, 1194874112), mobilenetv2=(3479768, 1096301312))


def test_fpn_levels(configs):
    detector = MODELS.build(read(configs, 'mobilenext', 'fpn_voc').model).eval()
    with torch.no_grad():
        levels = detector.extract_feat(torch.rand(1, 3, 320, 320))
    assert [tuple(f.shape[1:]) for f in levels] == [(128, n, n) for n in (40, 20, 10, 5, 3)]
    priors = detector.bbox_head.prior_generator
    priors.check_featmap_sizes([f.shape[-2:] for f in levels], (320, 320))
    assert sum(map(len, priors.grid_priors([f.shape[-2:] for f in levels], device='cpu'))) == 12804


def test_data_root_from_the_environment(configs, monkeypatch):
    monkeypatch.setenv('COCO_DATA_ROOT', 'elsewhere/coco')
    cfg = read(configs, 'mobilenext', 'coco')
    assert {cfg[f'{part}_dataloader'].dataset.data_root for part in ('train', 'val', 'test')} == {
        'elsewhere/coco'
    }
    assert cfg.test_evaluator.ann_file == 'elsewhere/coco/annotations/instances_val2017.json'


def test_data_root_from_the_command_line_is_the_evaluators_too(configs):
    path = str(configs / 'ssdlite_mobilenext_coco.py')
    cfg = load_config(path, {'data_root': 'other'})
    assert cfg.train_dataloader.dataset.data_root == 'other'
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        assert evaluator.ann_file == 'other/annotations/instances_val2017.json'
    own = {'data_root': 'other', 'test_evaluator.ann_file': '/mine/test.json'}
    assert load_config(path, own).test_evaluator.ann_file == '/mine/test.json'


def test_missing_data_set_is_said_before_the_run(configs):
    cfg = load_config(str(configs / 'ssdlite_mobilenext_coco.py'), {'data_root': 'nowhere'})
    report = check_dataset_cfgs(cfg, roles=('train', 'val'))
    with pytest.raises(DataCheckError) as caught:
        report.raise_if_bad()
    assert len(report.problems) == 1
    for said in ('nowhere', os.getcwd(), 'COCO_DATA_ROOT', '--cfg-options data_root=',
                 'annotations/instances_train2017.json', 'train2017/*.jpg'):  # fmt: skip
        assert said in str(caught.value)


@pytest.fixture
def coco_root(tmp_path, monkeypatch):
    """Three images in COCO's layout: with an object, with a crowd beside one, with none."""
    monkeypatch.setenv('COCO_DATA_ROOT', str(tmp_path))
    names = CocoDataset.METAINFO['classes']
    categories = [dict(id=i, name=name) for i, name in enumerate(names, 1)]
    boxes = {1: [(17, 0, [10, 20, 30, 40])], 2: [(1, 0, [5, 5, 50, 50]), (1, 1, [0, 0, 90, 60])]}
    anns = []
    for image, entries in boxes.items():
        for category, crowd, bbox in entries:
            anns.append(dict(
                id=len(anns) + 1, image_id=image, category_id=category, iscrowd=crowd, bbox=bbox,
                area=bbox[2] * bbox[3], segmentation=[]))  # fmt: skip
    images = [dict(id=i, file_name=f'{i:012d}.jpg', width=100, height=80) for i in (1, 2, 3)]
    (tmp_path / 'annotations').mkdir()
    for name in ('train2017', 'val2017'):
        (tmp_path / name).mkdir()
        for image in images:
            Image.new('RGB', (100, 80)).save(tmp_path / name / image['file_name'])
        path = tmp_path / 'annotations' / f'instances_{name}.json'
        path.write_text(json.dumps(dict(images=images, annotations=anns, categories=categories)))
    return tmp_path


def test_data_set_trains_and_is_evaluated(configs, coco_root):
    """Crowds and images without objects are left out of training alone, and AP is COCO's."""
    cfg = read(configs, 'mobilenext', 'coco')
    report = check_dataset_cfgs(cfg)
    assert report.ok, str(report)
    assert [(p.images, p.objects, p.difficult, p.images_without_boxes) for p in report.parts] == [
        (3, 3, 1, 1)
    ] * 2
    train, val = (DATASETS.build(cfg[f'{part}_dataloader'].dataset) for part in ('train', 'val'))
    assert (len(train), len(val)) == (2, 3)
    for index in range(len(train)):
        sample = train[index]
        assert sample['inputs'].shape == (3, 320, 320)
        assert len(sample['data_samples'].gt_instances) <= 1
    metric = METRICS.build(cfg.val_evaluator)
    metric.dataset_meta = val.metainfo
    predictions = []
    for image, label in ((0, 16), (1, 0), (2, 0)):
        sample = val[image]['data_samples'].to_dict()
        gts = torch.tensor([[10.0, 20, 40, 60], [5.0, 5, 55, 55], [0.0, 0, 9, 9]])[image, None]
        sample['pred_instances'] = dict(
            bboxes=gts, scores=torch.tensor([0.9 - 0.1 * image]), labels=torch.tensor([label])
        )
        predictions.append(sample)
    metric.process({}, predictions)
    assert metric.evaluate(3)['coco/bbox_mAP'] == pytest.approx(1, abs=2e-3)
