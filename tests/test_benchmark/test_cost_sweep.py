# SPDX-License-Identifier: Apache-2.0
"""The sweep of what a setting of the model costs."""

import json
import runpy
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console
from small_voc import ROOT

from mmdet_mobilenext.benchmark.errors import BenchmarkError, RunFailedError
from mmdet_mobilenext.benchmark.speed import exported, sweep, sweep_command
from mmdet_mobilenext.benchmark.speed.exported import RUNTIMES, export_onnx, flat_tensors, left_out
from mmdet_mobilenext.benchmark.speed.sweep import SweepPlan, parse_value, sweep_specs

CONFIG = str(ROOT / 'configs' / 'ablation' / 'sandglass_demo.py')
KEY = 'model.backbone.identity_tensor_multiplier'


def arguments(**changed):
    args = dict(
        configs=[CONFIG],
        sweep=[[KEY, '1', '1/3']],
        cfg_options=None,
        parts=['detector', 'network', 'backbone'],
        runtimes=['eager'],
        batch_sizes=[1, 2],
        rounds=2,
        warm_up=0,
        threads=None,
        no_memory=True,
        json=None,
        markdown=None,
    )
    return SimpleNamespace(**{**args, **changed})


def test_grid_of_two_swept_keys_and_two_configs():
    specs = sweep_specs(
        ['a.py', 'b.py'], [[KEY, '1', '1/2'], ['model.test_cfg.nms_pre', '7']], dict(x=1)
    )
    assert [s.name for s in specs] == [
        f'{name}, identity_tensor_multiplier={value}, nms_pre=7'
        for name in 'ab'
        for value in ('1', '1/2')
    ]
    assert specs[3].cfg_options == {'x': 1, KEY: 0.5, 'model.test_cfg.nms_pre': 7}


@pytest.mark.parametrize(
    ('sweeps', 'message'),
    [
        ([[KEY]], 'a sweep is a key of the model and its values'),
        ([['backbone.depth', '1']], "received 'backbone.depth 1'"),
        ([[KEY, '1/0']], "divides by zero: '1/0'"),
        ([[KEY, '[1,2']], r"brackets .* do not match: '\[1,2'"),
        ([[KEY, '1', '1']], 'there twice: identity_tensor_multiplier=1'),
    ],
)
def test_bad_sweeps_are_named(sweeps, message):
    with pytest.raises(BenchmarkError, match=message):
        sweep_specs(['a.py'], sweeps)


def test_values_are_those_of_cfg_options():
    texts = ('1/4', '-1/2', '1e-3', '-1', 'True', 'false', 'None', '[1,2]', '(3,(4,a))', 'a/b')
    values = [1 / 4, -1 / 2, 1e-3, -1, True, False, None, [1, 2], (3, (4, 'a')), 'a/b']
    parsed = [parse_value(text) for text in texts]
    assert parsed == values and list(map(type, parsed)) == list(map(type, values))


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(parts=('head',)), r"parts must be of .*received \['head'\]"),
        (dict(runtimes=('tensorrt',)), r"runtimes must be of .*received \['tensorrt'\]"),
        (dict(rounds=0), 'rounds must be at least 1, but received 0'),
        (dict(batch_sizes=(0, 8)), r'batch_sizes must be at least 1 each, but received \(0, 8\)'),
    ],
)
def test_bad_plans_are_named(kwargs, message):
    with pytest.raises(BenchmarkError, match=message):
        SweepPlan(**kwargs)


def test_a_value_that_the_model_refuses_is_named():
    with pytest.raises(BenchmarkError, match=r'multiplier=2 cannot be built .*must be in \(0, 1\]'):
        sweep_command.run(arguments(sweep=[[KEY, '2']]), Console(quiet=True))


def test_candidates_take_turns_and_all_is_written(tmp_path, monkeypatch):
    order = []
    real = sweep._runner

    def remember(candidate, *args):
        run = real(candidate, *args)
        return lambda: (order.append(candidate.name), run())[1]

    monkeypatch.setattr(sweep, '_runner', remember)
    files = dict(json=str(tmp_path / 'a' / 'sweep.json'), markdown=str(tmp_path / 'sweep.md'))
    found = sweep_command.run(arguments(**files), Console(quiet=True))
    names = ['identity_tensor_multiplier=1', 'identity_tensor_multiplier=1/3']
    assert order == names * (2 * 3 * 2)
    written = json.loads((tmp_path / 'a' / 'sweep.json').read_text())
    assert [s['measure'] for s in written['series'][::2]] == [
        f'{part}, eager, batch {batch}' for part in sweep.PARTS for batch in (1, 2)
    ]
    assert all(len(s['times']) == 2 and s['p95'] >= s['median'] > 0 for s in written['series'])
    assert [s['images'] for s in written['series'][:4]] == [1, 1, 2, 2]
    # the share of a shortcut costs neither parameters nor multiply-adds
    first, second = written['size']
    for key in ('parameters', 'madds', 'backbone_madds'):
        assert first[key] == second[key] > 0
    assert second['cfg_options'] == {KEY: 1 / 3}
    text = (tmp_path / 'sweep.md').read_text()
    assert all(text.count(f'| {name} ') == 1 + 6 for name in names)
    assert f'{first["madds"]:,}' in text
    assert found['memory'] == []


def test_one_that_fails_is_told_and_the_others_are_measured(monkeypatch, tmp_path):
    real = sweep._runner

    def fail(candidate, *args):
        if '1/3' in candidate.name:
            raise RuntimeError('no such operator')
        return real(candidate, *args)

    monkeypatch.setattr(sweep, '_runner', fail)
    path = tmp_path / 'sweep.json'
    args = arguments(parts=['backbone'], batch_sizes=[1], json=str(path))
    with pytest.raises(RunFailedError, match=r'1/3: RuntimeError: no such operator'):
        sweep_command.run(args, Console(quiet=True))
    good, bad = json.loads(path.read_text())['series']
    assert len(good['times']) == 2 and bad['error'] == 'RuntimeError: no such operator'


@pytest.mark.slow
def test_memory_is_measured_in_a_process_of_its_own():
    args = arguments(parts=['backbone'], sweep=[], batch_sizes=[4], rounds=1, no_memory=False)
    (row,) = sweep_command.run(args, Console(quiet=True))['memory']
    assert row['batch'] == 4 and row['peak_mb'] > row['growth_mb'] >= 0


def test_runtimes_that_are_not_there_are_left_out_with_the_command_to_install_them(monkeypatch):
    monkeypatch.setattr(exported, 'find_spec', lambda name: None if name == 'onnxscript' else 1)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert set(left_out(list(RUNTIMES))) == set(RUNTIMES)
    assert left_out(['openvino'])['openvino'] == (
        'openvino is left out: there is no onnxscript. `pip install onnx onnxscript openvino`'
    )
    monkeypatch.setattr(exported, 'find_spec', lambda name: 1)
    assert left_out(list(RUNTIMES)) == {}


def test_a_runtime_that_computes_something_else_is_refused(monkeypatch):
    monkeypatch.setattr(exported, 'load_runtime', lambda *args: lambda: [np.ones((1, 2))])
    images, same = torch.zeros(1, 3, 2, 2), torch.full((1, 2), 1.0005)
    assert exported.run_checked('openvino', 'x.onnx', images, [same])()[0].shape == (1, 2)
    for other in (torch.full((1, 2), 1.1), torch.full((1, 2), torch.nan)):
        with pytest.raises(RuntimeError, match='openvino computes another result: output 0'):
            exported.run_checked('openvino', 'x.onnx', images, [other])


@pytest.mark.slow
@pytest.mark.parametrize('runtime', RUNTIMES)
def test_exported_backbone(runtime, tmp_path):
    if any(find_spec(name) is None for name in RUNTIMES[runtime]):
        pytest.skip(f'{runtime} is optional: pip install {" ".join(RUNTIMES[runtime])}')
    from mmdet_mobilenext.models import MobileNeXt

    torch.manual_seed(0)
    net = MobileNeXt(0.35, identity_tensor_multiplier=1 / 3, out_indices=(4, 5)).eval()
    images = torch.rand(2, 3, 64, 64)
    path = export_onnx(net, net, images, tmp_path / 'net.onnx')
    with torch.no_grad():
        expected = flat_tensors(net(images))
    assert len(exported.run_checked(runtime, path, images, expected)()) == 2


def test_tool_names_what_is_wrong(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['cost_sweep.py', CONFIG, '--sweep', KEY])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(ROOT / 'tools' / 'analysis' / 'cost_sweep.py'), run_name='__main__')
    assert stopped.value.code == 1
    assert 'BenchmarkError: a sweep is a key of the model' in capsys.readouterr().err
