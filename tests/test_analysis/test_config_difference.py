# SPDX-License-Identifier: Apache-2.0
"""The difference of two configs: what is planted is found, and told in the right place."""

import copy
import inspect
import re
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.runner._flexible_runner import FlexibleRunner
from small_voc import ROOT
from test_layers import shown

from mmdet_mobilenext.analysis.config_difference import (
    ABSENT,
    COMPARED,
    VARIABLES,
    WEIGHTS,
    compare_configs,
    must_be_equal,
)
from mmdet_mobilenext.analysis.config_report import difference_report, facts_of
from mmdet_mobilenext.benchmark.fingerprint import config_digest
from mmdet_mobilenext.engine.config import load_config

PAIRS = ('voc', '4xb24_voc', 'voc07', 'ours_voc', 'demo', 'small160_30e_voc07')


def config(name):
    return load_config(str(ROOT / f'configs/ssdlite_{name}.py'))


@pytest.fixture(scope='module')
def pair():
    return config('mobilenext_voc'), config('mobilenetv2_voc')


@pytest.mark.parametrize('variant', PAIRS)
def test_the_pairs_of_the_project_are_fair(variant):
    found = compare_configs(config(f'mobilenext_{variant}'), config(f'mobilenetv2_{variant}'))
    assert must_be_equal(found) == []
    assert any(d.path == 'model.backbone.type' and d.group == COMPARED for d in found)


def planted(cfg):
    """Changes, each with the path and the group where it has to show up."""

    def train(cfg):
        return cfg.train_dataloader.dataset.datasets[0].pipeline[0].transforms

    place = 'train_dataloader.dataset.datasets[VOCDataset#0].pipeline[FusedSSDAugment].transforms'
    return [
        (lambda c: c.merge_from_dict({'randomness.seed': 3}), 'randomness.seed', 'seeds'),
        (
            lambda c: c.optim_wrapper.optimizer.update(lr=0.5),
            'optim_wrapper.optimizer.lr',
            'batch and learning rate',
        ),
        (
            lambda c: c.optim_wrapper.optimizer.update(weight_decay=0.0),
            'optim_wrapper.optimizer.weight_decay',
            'optimizer',
        ),
        (
            lambda c: c.train_dataloader.update(batch_size=8),
            'train_dataloader.batch_size',
            'batch and learning rate',
        ),
        (
            lambda c: c.param_scheduler[1].update(milestones=[1, 2]),
            'param_scheduler[MultiStepLR].milestones',
            'schedule',
        ),
        (lambda c: train(c).pop(4), f'{place}[Expand]', 'augmentation'),
        (
            lambda c: train(c)[5].update(min_ious=(0.1, 0.9)),
            f'{place}[SSDRandomCrop].min_ious',
            'augmentation',
        ),
        (
            lambda c: train(c).insert(3, dict(type='Color')),
            f'{place}[Color]',
            'augmentation',
        ),
        (
            lambda c: c.train_dataloader.dataset.datasets[1].update(ann_file='x.txt'),
            'train_dataloader.dataset.datasets[VOCDataset#1].ann_file',
            'training data',
        ),
        (
            lambda c: c.train_dataloader.dataset.datasets.pop(1),
            'train_dataloader.dataset.datasets[VOCDataset#1]',
            'training data',
        ),
        (
            lambda c: c.model.test_cfg.nms.update(iou_threshold=0.6),
            'model.test_cfg.nms.iou_threshold',
            'test settings',
        ),
        (
            lambda c: c.test_dataloader.dataset.pipeline[1].update(scale=(300, 300)),
            'test_dataloader.dataset.pipeline[Resize].scale',
            'test settings',
        ),
        (
            lambda c: c.model.bbox_head.anchor_generator.min_sizes.__setitem__(0, 44),
            'model.bbox_head.anchor_generator.min_sizes',
            'other parts of the model',
        ),
        (lambda c: c.merge_from_dict({'load_from': 'a.pth'}), 'load_from', WEIGHTS),
        (
            lambda c: c.model.backbone.pop('init_cfg'),
            'model.backbone.init_cfg',
            WEIGHTS,
        ),
        (
            lambda c: c.update(custom_hooks=[dict(type='EMAHook')]),
            'custom_hooks',
            'everything else that is run',
        ),
    ]


@pytest.mark.parametrize('number', range(16))
def test_what_is_planted_is_found_alone(pair, number):
    changed = copy.deepcopy(pair[0])
    change, path, group = planted(changed)[number]
    change(changed)
    found = compare_configs(pair[0], changed)
    assert [(d.path, d.group) for d in found] == [(path, group)]
    assert len(must_be_equal(found)) == 1
    back = compare_configs(changed, pair[0])
    assert [(d.first, d.second) for d in back] == [(d.second, d.first) for d in found]


def test_all_planted_changes_are_covered(pair):
    assert len(planted(pair[0])) == 16


def test_equal_configs_have_no_difference(pair):
    assert compare_configs(pair[0], copy.deepcopy(pair[0])) == []
    lists, tuples = dict(train_cfg=dict(a=[(1, 2)])), dict(train_cfg=dict(a=((1, 2),)))
    assert compare_configs(lists, tuples) == []
    assert compare_configs(dict(work_dir='a', resume=True), dict(work_dir='b')) == []


def test_none_is_not_absent():
    (found,) = compare_configs(dict(load_from=None), dict())
    assert (found.first, found.second) == ('None', ABSENT)


def test_reordered_transforms_are_a_difference():
    steps = [dict(type='A'), dict(type='B', x=1)]
    first = dict(train_dataloader=dict(dataset=dict(pipeline=steps)))
    second = dict(train_dataloader=dict(dataset=dict(pipeline=steps[::-1])))
    found = compare_configs(first, second)
    assert len(found) == 2 and {d.group for d in found} == {'augmentation'}


def test_nested_lists_of_a_test_time_augmentation_are_followed(pair):
    changed = copy.deepcopy(pair[0])
    changed.tta_pipeline[1].transforms[1][0].prob = 0.5
    (found,) = compare_configs(pair[0], changed)
    assert found.path == 'tta_pipeline[TestTimeAug].transforms[list#1][RandomFlip#0].prob'
    assert (found.first, found.second) == ('1.0', '0.5')


def test_weights_that_one_has_and_the_other_lacks_are_unfair(pair, tmp_path):
    there = tmp_path / 'a.pth'
    first, second = (copy.deepcopy(cfg) for cfg in pair)
    first.model.backbone.init_cfg.checkpoint = str(there)
    assert must_be_equal(compare_configs(first, second)) == []  # neither file is there
    there.write_bytes(b'')
    (wrong,) = must_be_equal(compare_configs(first, second))
    assert wrong.path == 'model.backbone.init_cfg.checkpoint'


def start(kind, checkpoint, **kwargs):
    init_cfg = dict(type='Pretrained', checkpoint=checkpoint, **kwargs)
    return dict(model=dict(backbone=dict(type=kind, init_cfg=init_cfg)))


def test_only_another_backbone_may_start_from_another_file(tmp_path):
    one, two = (str(tmp_path / name) for name in 'ab')
    first, other = start('A', one, prefix='backbone.'), start('B', 'https://a.org/b.pth')
    found = must_be_equal(compare_configs(first, other))  # a missing file and an address
    assert {d.path.rsplit('.', 1)[1] for d in found} == {'checkpoint', 'prefix'}
    for path in (one, two):
        Path(path).write_bytes(b'')
    assert len(must_be_equal(compare_configs(start('A', one), start('A', two)))) == 1
    assert must_be_equal(compare_configs(first, other)) == []
    assert must_be_equal(compare_configs(first, start('B', 'torchvision://resnet50'))) == []


def test_all_that_the_runners_read_counts():
    for runner in (Runner, FlexibleRunner):
        source = inspect.getsource(inspect.getmodule(runner))
        names = re.findall(r"self\.cfg\.get\(\s*'(\w+)'", source)
        assert len(names) >= 1
        for name in {*names, 'strategy', 'compile'}:
            (found,) = compare_configs({name: 1}, {name: 2})
            assert found.group != VARIABLES, name


def test_a_config_inherited_by_package_name_is_the_same(tmp_path):
    name = 'mmdet_mobilenext::retinanet/retinanet_mobilenext_fpn_1x_voc0712.py'
    (tmp_path / 'a.py').write_text(f'_base_ = {name!r}')
    first, second = load_config(name), load_config(str(tmp_path / 'a.py'))
    assert '_scope_' in second.train_dataloader.dataset
    assert compare_configs(first, second) == []
    assert config_digest(first) == config_digest(second)
    second.train_dataloader.dataset._scope_ = 'mmpretrain'
    assert len(must_be_equal(compare_configs(first, second))) == 1


def test_variables_of_config_files_do_not_count(pair):
    changed = copy.deepcopy(pair[0])
    changed.my_variable = 3
    (found,) = compare_configs(pair[0], changed)
    assert found.group == VARIABLES and must_be_equal([found]) == []
    names = ['a.py', 'b.py']
    text = shown(difference_report(names, [found]))
    assert 'not compared' in text and 'my_variable (--variables' in text
    assert 'my_variable' in shown(difference_report(names, [found], variables=True))


def test_the_report_tells_counts_groups_and_the_verdict():
    pair = [config('mobilenext_demo'), config('mobilenetv2_demo')]
    facts = [facts_of(cfg) for cfg in pair]
    assert facts[0]['parameters'] == '690,544' and facts[0]['multiply-adds'] == '33,683,840'
    assert facts[0]['priors'] == facts[1]['priors'] == '2,040 (1536 + 384 + 96 + 24)'
    text = shown(difference_report(['a.py', 'b.py'], compare_configs(*pair), facts))
    assert '690,544' in text and 'what you compare' in text
    assert 'The two differ in backbone, neck and head inputs alone.' in text
    pair[1].randomness.seed = 7
    text = shown(difference_report(['a.py', 'b.py'], compare_configs(*pair)))
    assert '1 difference beyond backbone, neck and head inputs.' in text
    assert 'seeds (1)' in text and 'seeds,' not in text.split('equal: ')[1]


def test_facts_of_a_config_that_tells_no_size():
    cfg = load_config(str(ROOT / 'configs/retinanet/retinanet_mobilenext_fpn_small160_voc07.py'))
    assert facts_of(cfg)['input, width x height'] == '160x160'
    pipeline = cfg.test_dataloader.dataset.pipeline
    cfg.test_dataloader.dataset.pipeline = [t for t in pipeline if t.type != 'Resize']
    facts = facts_of(cfg)
    assert facts['input, width x height'] == 'that of each image'
    assert facts['multiply-adds'] == 'not counted' and 'priors' not in facts


def main_of(monkeypatch, *args):
    """Run the tool in this process and give its exit code."""
    import runpy
    import sys

    monkeypatch.setattr(sys, 'argv', ['compare_configs.py', *map(str, args)])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(ROOT / 'tools/compare_configs.py'), run_name='__main__')
    return stopped.value.code


def test_exit_codes_of_the_tool(monkeypatch, capsys):
    demo, other = (ROOT / f'configs/ssdlite_{n}_demo.py' for n in ('mobilenext', 'mobilenetv2'))
    voc = ROOT / 'configs/ssdlite_mobilenext_voc.py'
    assert main_of(monkeypatch, demo, other, '--no-model', '--strict') == 0
    assert main_of(monkeypatch, demo, voc, '--no-model') == 0
    assert main_of(monkeypatch, demo, voc, '--no-model', '--strict') == 1
    stock = 'mmdet::ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py'
    assert main_of(monkeypatch, voc, stock, '--no-model', '--strict') == 1
    assert main_of(monkeypatch, demo, 'nowhere.py') == 1
    assert "no config file 'nowhere.py'" in capsys.readouterr().err


def test_configs_that_are_not_there_are_named():
    with pytest.raises(FileNotFoundError, match=r"no config 'no_such_package::a\.py'"):
        load_config('no_such_package::a.py')
    with pytest.raises(FileNotFoundError, match=r"no config 'no/such\.py' in mmdet"):
        load_config('mmdet::no/such.py')
    assert isinstance(load_config('mmdet::ssd/ssd300_coco.py', {'seed': 3}), Config)
