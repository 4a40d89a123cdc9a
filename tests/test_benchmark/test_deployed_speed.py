# SPDX-License-Identifier: Apache-2.0
"""Latency of exported files beside PyTorch: what is run, and what is told of it."""

import argparse
import json
import random

import pytest
from random_detectors import random_detector, save_checkpoint
from small_runtime_model import write_small_model
from small_voc import make_small_voc

from mmdet_mobilenext.benchmark.errors import BenchmarkError, RunFailedError
from mmdet_mobilenext.benchmark.speed.deployed import EAGER, STAGES, DeployedPlan, ratio_interval
from mmdet_mobilenext.benchmark.speed.deployed_command import run
from mmdet_mobilenext.benchmark.speed.timing import run_rounds
from mmdet_mobilenext.engine.config import load_config


@pytest.fixture(scope='module')
def options(configs, tmp_path_factory):
    folder = tmp_path_factory.mktemp('deployed')
    voc = make_small_voc(folder / 'voc', test=5)
    name = str(configs / 'ssdlite_mobilenext_demo.py')
    model = random_detector(load_config(name))
    checkpoint = save_checkpoint(model, folder / 'a.pth')
    file = write_small_model(folder / 'small.onnx', size=(128, 128))
    return dict(
        config=name, checkpoint=checkpoint, models=[str(file), f'{file}=openvino'], rounds=3,
        warm_up=1, images=2, threads=1, seed=0, json=None, markdown=None,
        cfg_options=dict(data_root=str(voc)),
    )  # fmt: skip


def test_everything_is_measured_in_turn_and_written(options, tmp_path, capsys):
    files = dict(json=str(tmp_path / 'a.json'), markdown=str(tmp_path / 'a.md'))
    found = run(argparse.Namespace(**{**options, **files}))
    names = [EAGER, 'small.onnx (onnxruntime)', 'small.onnx (openvino)']
    content = json.loads((tmp_path / 'a.json').read_text())
    for key in ('latency', 'whole'):
        assert [row['name'] for row in content[key]] == names
        assert all(len(row['times']) == 3 and min(row['times']) > 0 for row in content[key])
        assert content[key][0]['ratio_to_eager'] == 1
        low, high = content[key][1]['ratio_interval']
        assert 0 < low <= content[key][1]['ratio_to_eager'] <= high
    assert list(content['stages']) == names[1:]
    # of the same runs: no stage is forgotten
    for one in found['whole'][1:]:
        stages = content['stages'][one.name]
        assert tuple(stages) == STAGES and 0 < sum(stages.values()) < 3 * max(one.times)
    assert (
        content['files'][0]['backend'] == 'onnxruntime' and len(content['files'][0]['sha256']) == 64
    )
    assert content['plan'] == dict(rounds=3, warm_up=1, images=2, threads=1, seed=0)
    text = (tmp_path / 'a.md').read_text()
    assert text.count('| PyTorch') == 2 and '| where the time goes, median ms' in text
    assert 'small.onnx (openvino)' in capsys.readouterr().out


def test_a_file_that_fails_is_told_and_the_others_go_on(options, tmp_path):
    bad = write_small_model(tmp_path / 'bad.onnx', size=(128, 128), classes=('one',))
    files = [options['models'][0], str(bad)]
    out = tmp_path / 'a.json'
    with pytest.raises(RunFailedError, match='2 measurement'):
        run(argparse.Namespace(**{**options, 'models': files, 'json': str(out)}))
    rows = {row['name']: row for row in json.loads(out.read_text())['latency']}
    assert 'scores of 3 classes' in rows['bad.onnx (onnxruntime)']['error']
    assert len(rows['small.onnx (onnxruntime)']['times']) == 3


def test_what_is_refused(options, tmp_path):
    small = write_small_model(tmp_path / 'other.onnx')
    with pytest.raises(BenchmarkError, match=r'takes images of \(32, 48\), but the test pipeline'):
        run(argparse.Namespace(**{**options, 'models': [str(small)]}))
    with pytest.raises(BenchmarkError, match='is there twice'):
        run(argparse.Namespace(**{**options, 'models': [options['models'][0]] * 2}))
    with pytest.raises(BenchmarkError, match='threads must be at least 1'):
        DeployedPlan(threads=0)


def test_order_of_rounds_is_drawn():
    ran = []
    runners = {name: lambda name=name: ran.append(name) or 1.0 for name in 'abc'}
    found = run_rounds(runners, 20, 0, order=random.Random(0))
    rounds = {''.join(ran[i : i + 3]) for i in range(0, 60, 3)}
    assert len(rounds) > 3 and all(sorted(r) == ['a', 'b', 'c'] for r in rounds)
    assert list(found) == ['a', 'b', 'c'] and all(len(times) == 20 for times in found.values())


def test_the_interval_holds_the_ratio():
    generator = random.Random(0)
    base = [generator.uniform(1, 2) for _ in range(100)]
    times = [0.3 * value * generator.uniform(0.9, 1.1) for value in base]
    median, low, high = ratio_interval(base, times)
    assert 0.28 < low < median < high < 0.32
