# SPDX-License-Identifier: Apache-2.0
"""Candidates and tasks on a small set. No timing is asserted."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from small_benchmark import write_config
from small_voc import ROOT, make_small_voc

from mmdet_mobilenext.benchmark.errors import BenchmarkError, RunFailedError
from mmdet_mobilenext.benchmark.speed import CandidateSpec, Settings, build_candidate
from mmdet_mobilenext.benchmark.speed.candidate import (
    CANDIDATES_FOR_NMS,
    CandidateState,
    CannotVaryError,
)
from mmdet_mobilenext.benchmark.speed.command import parse_args, run
from mmdet_mobilenext.benchmark.speed.config_edits import find
from mmdet_mobilenext.benchmark.speed.growth import measure_growth
from mmdet_mobilenext.benchmark.speed.growth_rows import GrowthPlan
from mmdet_mobilenext.benchmark.speed.lineup import (
    STOCK,
    choose,
    reference_entries,
    share_images,
)
from mmdet_mobilenext.benchmark.speed.operators import (
    OperatorCounter,
    measure_operators,
    operator_tables,
)
from mmdet_mobilenext.benchmark.speed.processes import measure_processes
from mmdet_mobilenext.benchmark.speed.tasks import (
    measure_epoch,
    measure_evaluate,
    measure_load,
    measure_step,
    settled,
)
from mmdet_mobilenext.engine.keep_memory_hook import keep_freed_memory

SMALL = dict(batch_size=2, test_batch_size=2, runs=2, block=1, images=6, growth_runs=1)
NARROW = """
model = dict(
    backbone=dict(widen_factor=0.35, frozen_stages=-1),
    neck=dict(in_channels=(104, 200, 336), out_channels=(104, 200, 336, 256)),
    bbox_head=dict(in_channels=(104, 200, 336, 256)),
)
reference_train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(128, 128), keep_ratio=False),
    dict(type='PackDetInputs'),
]
"""


@pytest.fixture(autouse=True, scope='module')
def _memory_as_before():
    """Candidates set the C library as their training would."""
    yield
    keep_freed_memory(False)


@pytest.fixture(scope='module')
def voc(tmp_path_factory):
    return make_small_voc(tmp_path_factory.mktemp('voc') / 'VOCdevkit', train=12, val=2, test=4)


@pytest.fixture(scope='module')
def config(tmp_path_factory, voc):
    return write_config(tmp_path_factory.mktemp('config'), voc, 'mobilenext', NARROW)


@pytest.fixture(scope='module')
def settings(voc):
    return Settings(str(voc), num_workers=0, **SMALL)


@pytest.fixture(scope='module')
def pair(config, settings):
    """Two that work and between them one that cannot be built."""
    specs = [
        CandidateSpec('a', str(config)),
        CandidateSpec('broken', str(config), dict(model=dict(backbone=dict(widen_factor=7)))),
        CandidateSpec('b', str(config)),
    ]
    candidates = [build_candidate(s, settings) for s in specs]
    assert share_images(candidates) == []
    return candidates


def check(series, names=('a', 'broken', 'b'), runs=2):
    assert [s.name for s in series] == list(names)
    for one in series:
        if one.name == 'broken':
            assert 'widen_factor must be in' in one.error and not one.times
        else:
            assert not one.error and len(one.times) == runs
            assert all(math.isfinite(t) and t > 0 for t in one.times)
            assert one.images > 0 and one.images_per_second > 0


def test_steps_and_losses_are_timed_and_the_broken_one_reported(pair):
    rounds = []
    series = measure_step(pair, lambda *state: rounds.append(state))
    check(series[:3])
    check(series[3:])
    assert [s.task for s in series] == ['step'] * 3 + ['loss'] * 3
    assert rounds[-1] == (4, 4)
    assert 'model' not in pair[0].__dict__  # memory is let go


class Plain(CandidateState):
    def __init__(self, name, keeps_memory, settings):
        super().__init__(CandidateSpec(name, name), settings)
        self.keeps_memory = keeps_memory


Plain.__abstractmethods__ = frozenset()  # it only runs what it is given


def test_each_fetches_its_memory_before_it_is_timed(settings):
    """What the first gives back is missing for all that keep memory, not for the next alone."""
    if not keep_freed_memory(False):
        pytest.skip('needs glibc')
    runs = []
    candidates = [Plain('stock', False, settings), Plain('a', True, settings)]
    candidates.append(Plain('b', True, settings))
    timed = [settled(c, lambda c=c: runs.append(c.name) or 1.0) for c in candidates]
    for _ in range(2):
        for one in timed:
            one()
    assert runs[-6:] == ['stock', 'stock', 'a', 'a', 'b', 'b']
    runs.clear()
    for one in [*timed[1:], *timed[1:]]:
        one()
    assert runs == ['a', 'b', 'a', 'b']  # nothing was given back in between


@pytest.mark.skipif(torch.cuda.is_available(), reason='operators have other names on a GPU')
def test_operators_of_a_step(pair):
    found = measure_operators(pair)
    assert [one['name'] for one in found] == ['a', 'broken', 'b']
    assert 'widen_factor must be in' in found[1]['error']
    for one in (found[0], found[2]):
        calls = {row['operator']: row['calls'] for row in one['rows']}
        # once for each batch norm, in each step
        norms = calls['aten::native_batch_norm']
        assert norms == calls['aten::native_batch_norm_backward'] > 30
        assert one['step']['launches'] > one['loss']['launches'] > 10
        assert one['loss']['syncs'] == {}  # assignment and losses never wait for the device
    shares, counts, failed = operator_tables(found)
    assert 'aten::convolution_backward' in shares and 'a, loss' in counts
    assert failed.startswith('broken failed')


def test_loss_does_nothing_for_each_image_but_copy_its_boxes(pair):
    launches = []
    for size in (2, 5):
        run = pair[0].loss_task(pair[0].synthetic_batch(size))
        run()
        with OperatorCounter() as counter:
            run()
        launches.append(counter.launches)
    # boxes and labels of three images more, padded into one tensor each
    assert 0 <= launches[1] - launches[0] <= 3 * 4


@pytest.mark.parametrize(
    ('wait', 'name'),
    [
        (lambda x: x[x > 1], 'index'),
        (lambda x: x.sum().item(), '_local_scalar_dense'),
        (lambda x: bool(x.any()), '_local_scalar_dense'),
        (lambda x: x.nonzero(), 'nonzero'),
        (lambda x: x.masked_select(x > 1), 'masked_select'),
        (lambda x: x.clone().index_put_((x > 1,), torch.tensor(0.0)), None),
        (lambda x: x.clone().index_put_((x > 1,), x[2:]), 'index_put_'),
        (lambda x: x[x.argsort()].view(-1, 1) * 2, None),
        (lambda x: torch.where(x > 1, x, 0), None),
    ],
)
def test_waits_of_the_host_are_counted(wait, name):
    with OperatorCounter() as counter:
        wait(torch.arange(4.0))
    assert dict(counter.syncs) == ({name: 1} if name else {})


def test_epoch_and_evaluation(pair):
    check(measure_epoch(pair, lambda *state: None))
    check(measure_evaluate(pair, lambda *state: None))


def test_loading_of_the_reference_pipeline_takes_part(config, settings):
    spec = CandidateSpec('ours', str(config))
    extra = reference_entries([spec, CandidateSpec('none', str(ROOT / 'no.py'))])
    assert [e.name for e in extra] == ['ours, reference pipeline']
    assert extra[0].takes_part('load') and not extra[0].takes_part('step')
    candidates = [build_candidate(s, settings) for s in (spec, *extra)]
    assert len(candidates[1].train_dataset.pipeline.transforms) == 4
    threads = torch.get_num_threads()
    series = measure_load(candidates, lambda *state: None)
    check(series[:2], ['ours', 'ours, reference pipeline'])
    check(series[2:], ['ours', 'ours, reference pipeline'])
    assert torch.get_num_threads() == threads


def test_a_fused_pipeline_has_its_reference(voc, settings):
    specs, _ = choose([], ROOT / 'configs')
    (entry,) = reference_entries(specs)  # both detectors share the pipeline
    assert entry.name == 'ours MobileNetV2, reference pipeline' and entry.fused is False
    assert find(build_candidate(specs[1], settings).cfg.train_dataloader, 'fused') is True
    assert find(build_candidate(entry, settings).cfg.train_dataloader, 'fused') is False


def test_all_load_the_same_images_in_the_same_order(config, voc):
    settings = Settings(str(voc), **{**SMALL, 'images': 100})
    filtered = dict(train_dataloader=dict(dataset=dict(filter_cfg=dict(filter_empty_gt=True))))
    a, b = (
        build_candidate(CandidateSpec(name, str(config), options), settings)
        for name, options in (('a', {}), ('b', filtered))
    )
    share_images([a, b])
    assert a.order(True) != b.order(True)  # the filtered set has other indices
    names = [[Path(c.paths(True)[i]).name for i in c.order(True)] for c in (a, b)]
    assert names[0] == names[1] and len(set(names[0])) == 11


@pytest.mark.slow
def test_growth_has_a_row_for_each_cost(pair):
    plan = GrowthPlan(batch=(2, 3), size=(64, 96), boxes=(1, 300), classes=(3, 30), fixed_batch=2)
    axes = ('batch', 'size', 'boxes', 'classes')
    rows = measure_growth(pair[:2], plan, lambda title: lambda *state: None, axes)
    costs = dict(
        batch=['load', 'step', 'loss', 'predict'],
        size=['load', 'step', 'loss', 'predict'],
        boxes=['load', 'loss'],
        classes=['step', 'loss', 'predict'],
    )
    assert [(r.axis, r.cost, r.name) for r in rows] == [
        (axis, cost, name) for axis in axes for cost in costs[axis] for name in ('a', 'broken')
    ]
    for row in rows:
        # loading needs no model: there the broken one is as good as any
        if row.name == 'broken' and row.cost != 'load':
            assert 'widen_factor' in row.error and not row.left_out
        else:
            assert row.error is None and [len(t) for t in row.times] == [1, 1]
            assert math.isfinite(row.exponent)
            assert row.points == list(getattr(plan, row.axis))


def test_another_size_has_its_priors(pair):
    candidate = pair[0]
    before = candidate.cfg.model.bbox_head.anchor_generator
    varied = candidate.variant(input_size=192)
    assert varied.batch(1)['inputs'][0].shape == (3, 192, 192)
    after = varied.cfg.model.bbox_head.anchor_generator
    assert list(after.min_sizes) == [round(1.5 * s) for s in before.min_sizes]
    varied.train_task()(varied.synthetic_batch(2))  # the head checks the maps
    assert candidate.cfg.model.bbox_head.anchor_generator.input_size == before.input_size


def test_other_classes_are_in_the_labels(pair):
    varied = pair[0].variant(num_classes=365)
    batch = varied.synthetic_batch(2, num_boxes=300)
    assert batch['data_samples'][0].gt_instances.labels.max() > 100
    assert varied.model.bbox_head.cls_out_channels == 366


def test_labels_are_replaced_by_random_boxes(pair, config, settings):
    spec = CandidateSpec('r', str(config), pipeline='reference_train_pipeline')
    sample = build_candidate(spec, settings).with_boxes(0, 40)
    assert len(sample['data_samples'].gt_instances) == 40
    assert len(pair[0].train_dataset[0]['data_samples'].gt_instances) < 40


def test_loss_is_cut_off_from_the_network(pair):
    candidate = pair[0]
    candidate.release()
    candidate.loss_task(candidate.synthetic_batch(2))()
    assert all(p.grad is None for p in candidate.model.parameters())


def test_training_step_trains(pair):
    candidate = pair[0]
    candidate.release()
    norms = [m for m in candidate.model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    before = [norm.running_mean.clone() for norm in norms]
    candidate.train_task()(candidate.batch(2))
    assert not any(torch.equal(b, n.running_mean) for b, n in zip(before, norms, strict=True))


@pytest.mark.parametrize(
    ('given', 'used'),
    [(True, {}), (dict(mode='default'), dict(mode='default')), ({}, {}), (False, None)],
)
def test_step_is_compiled_if_the_config_says_so(given, used, config, settings, monkeypatch):
    ran = []

    def compile_step(step, **options):
        return lambda *args: ran.append(options) or step(*args)

    monkeypatch.setattr(torch, 'compile', compile_step)
    candidate = build_candidate(CandidateSpec('c', str(config), dict(compile=given)), settings)
    candidate.train_task()(candidate.synthetic_batch(2))
    assert ran == ([] if used is None else [used])


def test_the_same_number_of_boxes_reaches_nms(pair):
    candidate = pair[0]
    candidate.release()
    batch = candidate.batch(2, train=False)
    candidate.calibrate(batch)
    model = candidate.model
    data = model.data_preprocessor(batch, False)
    with torch.no_grad():
        scores = model.bbox_head(model.extract_feat(data['inputs']))[0]
    channels = model.bbox_head.cls_out_channels
    flat = torch.cat([s.permute(0, 2, 3, 1).reshape(-1, channels) for s in scores])
    passed = int((flat.softmax(1)[:, :-1] > model.test_cfg.score_thr).sum())
    # logits of random weights are so close together that single floats decide
    assert passed == pytest.approx(2 * CANDIDATES_FOR_NMS, rel=0.25)
    assert len(candidate.predict(batch)) == 2


def test_stock_trains_and_predicts_on_voc_with_20_classes(voc):
    specs, _ = choose([], ROOT / 'configs')
    assert specs[0].name == STOCK
    stock = build_candidate(specs[0], Settings(str(voc), num_workers=0, **SMALL))
    assert stock.num_classes == 20 and stock.input_size == (320, 320)
    assert [t['type'] for t in stock.cfg.train_pipeline] == [
        'LoadImageFromFile',
        'LoadAnnotations',
        'Expand',
        'MinIoURandomCrop',
        'Resize',
        'RandomFlip',
        'PhotoMetricDistortion',
        'PackDetInputs',
    ]
    assert stock.cfg.test_evaluator.type == 'VOCMetric'
    assert len(stock.train_dataset.metainfo['classes']) == 20
    conv = stock.model.backbone.conv1.conv.weight
    assert not conv.is_contiguous(memory_format=torch.channels_last)
    stock.train_task()(stock.batch(2))
    stock.loss_task(stock.batch(2))()
    batch = stock.batch(2, train=False)
    stock.calibrate(batch)
    assert len(stock.predict(batch)) == 2


def test_user_configs_replace_all_but_stock():
    specs, _ = choose(['x/mine.py', 'y/other.py'], ROOT / 'configs')
    assert [s.name for s in specs] == [STOCK, 'mine', 'other']
    assert [s.name for s in choose(['x/mine.py'], ROOT, stock=False)[0]] == ['mine']
    with pytest.raises(BenchmarkError, match='mine'):
        choose(['x/mine.py', 'y/mine.py'], ROOT)


def test_missing_torchvision_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, 'torchvision', None)
    specs, left_out = choose([], ROOT / 'configs')
    assert not any(s.config == 'torchvision' for s in specs)
    assert 'left out' in left_out[0] and 'cannot be imported' in left_out[0]


def test_torchvision_has_one_size(settings):
    candidate = build_candidate(CandidateSpec('tv', 'torchvision'), settings)
    with pytest.raises(CannotVaryError, match='320'):
        candidate.variant(input_size=160)


def command(tmp_path, voc, config, *more):
    small = '--runs 1 --batch-size 2 --test-batch-size 2 --block 1 --images 4 --num-workers 0'
    args = [str(config), '--no-stock', '--data-root', str(voc), *small.split(), *map(str, more)]
    return run(parse_args(args), ROOT / 'configs', Console(file=(tmp_path / 'out').open('w')))


def test_command_writes_all_it_found(tmp_path, voc, config):
    out, figure = tmp_path / 'out.json', tmp_path / 'out.png'
    command(tmp_path, voc, config, '--tasks', 'load', 'step', '--json', out, '--plot', figure)
    found = json.loads(out.read_text())
    assert found['complete'] and not found['errors']
    assert {s['task'] for s in found['series']} == {'load', 'step'}
    assert all(len(s['times']) == 1 and s['ratio_to_first'] > 0 for s in found['series'])
    assert {'machine', 'date', 'command', 'versions', 'settings'} <= set(found)
    assert figure.read_bytes().startswith(b'\x89PNG')
    said = (tmp_path / 'out').read_text()
    assert '[1/2] load' in said and '[2/2] step' in said and 'images/s' in said


def test_command_reports_a_failed_task_after_the_others(tmp_path, voc, config, monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmdet_mobilenext.benchmark.speed_metric', None)
    out = tmp_path / 'out.json'
    with pytest.raises(RunFailedError, match=r'1 measurement\(s\) failed:\n  metric'):
        command(tmp_path, voc, config, '--tasks', 'metric', 'step', '--json', out)
    found = json.loads(out.read_text())
    assert [s['task'] for s in found['series']] == ['step'] and found['complete']
    assert len(found['errors']) == 1


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--runs', '0'], '--runs must be at least 1'),
        (['--batch-size', '1'], 'batch norm'),
        (['--plot', 'a.gif'], 'ends in one of'),
        (['--tasks', 'time-to-map'], 'needs --work-dirs'),
        (['--target-map', '20'], r'must be in \(0, 1\]'),
        (['--data-root', 'nowhere'], 'nowhere is no VOCdevkit folder'),
    ],
)
def test_wrong_options_are_told_before_anything_runs(options, message):
    with pytest.raises(BenchmarkError, match=message):
        run(parse_args(options), ROOT / 'configs')


@pytest.mark.slow
def test_memory_and_processes(config, settings):
    from mmdet_mobilenext.benchmark.speed.memory import measure_in_child

    spec = CandidateSpec('a', str(config))
    settings = replace(settings, num_workers=1)
    found = measure_in_child(spec, settings, 'training')
    # libraries of two processes are counted once
    assert found['processes'] >= 2 and found['total_mb'] > 100 and found['process_mb'] > 100
    broken = CandidateSpec('broken', str(config), dict(model=dict(backbone=dict(widen_factor=7))))
    with pytest.raises(RuntimeError, match='widen_factor must be in'):
        measure_in_child(broken, settings, 'evaluation')
    found = measure_processes([spec, broken], settings, 2, batch_size=2, threads=1)
    assert len(found['a']) == 1 and found['a'][0] > 0
    assert 'widen_factor must be in' in found['broken']


@pytest.mark.parametrize('option', ['--json', '--plot'])
def test_files_that_cannot_be_written_are_named_before_measuring(tmp_path, option):
    (tmp_path / 'file').write_text('')
    (tmp_path / 'a.png').mkdir()
    for path, why in (
        (tmp_path / 'a.png', 'is a folder'),
        (tmp_path / 'file/x.png', 'cannot make'),
    ):
        with pytest.raises(BenchmarkError, match=f'{option}.*{why}'):
            run(parse_args([option, str(path)]), ROOT / 'configs')
