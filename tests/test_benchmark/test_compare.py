# SPDX-License-Identifier: Apache-2.0
"""Whole comparisons with ``tools/benchmark.py``, on a set of a few images."""

from __future__ import annotations

import errno
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from small_benchmark import benchmark, kill_benchmark_when, write_config, write_pair
from small_voc import make_small_voc, run_tool

from mmdet_mobilenext.benchmark.options import compare_from_options
from mmdet_mobilenext.engine.atomic_checkpoint_hook import AtomicLocalBackend
from mmdet_mobilenext.evaluation.records import DetectionRecords

pytestmark = pytest.mark.slow

NAMES = ('small_mobilenetv2', 'small_mobilenext')


@pytest.fixture(scope='module')
def voc(tmp_path_factory):
    return make_small_voc(tmp_path_factory.mktemp('voc'), train=16, val=3, test=11)


@pytest.fixture(scope='module')
def pair(voc, tmp_path_factory):
    folder = tmp_path_factory.mktemp('configs')
    return write_pair(folder, voc)


@pytest.fixture(scope='module')
def compared(pair, tmp_path_factory):
    """A finished comparison: its folder and what it printed."""
    folder = tmp_path_factory.mktemp('compared')
    done = benchmark(*pair, '--work-dir', folder, '--jobs', 2)
    return folder, done.stdout


@pytest.fixture
def weights(compared):
    return [compared[0] / 'runs' / name / 'seed0' / 'epoch_2.pth' for name in NAMES]


def results_of(folder: Path) -> dict:
    return json.loads((folder / 'report' / 'results.json').read_text())


def lasting(folder: Path) -> dict:
    """Everything but what is measured with a clock."""
    results = results_of(folder)
    assert results.pop('volatile')
    return results


def contents(folder: Path, pattern: str) -> dict[str, tuple]:
    found = {str(p): (p.stat().st_mtime_ns, p.stat().st_size) for p in folder.glob(pattern)}
    assert found
    return found


def test_report(compared):
    folder, printed = compared
    results = results_of(folder)
    assert [model['name'] for model in results['models']] == list(NAMES)
    assert results['protocol']['data']['test']['images'] == 11
    for model in results['models']:
        curves = model['seeds'][0]['curves']
        assert len(curves['loss']) == 8 and len(curves['val_map']) == 1
        measured = results['volatile']['models'][model['name']]
        assert measured['latency_ms']['median'] > 0
        assert measured['memory_mb']['training'] >= measured['memory_mb']['inference'] > 50
        assert measured['wall_minutes']['0'] > 0
    page = folder / 'report' / 'index.html'
    assert printed.rstrip().endswith(f'report: {page}')
    sentence = results['comparisons'][0]['sentence']
    assert sentence in printed and 'training seed' in sentence
    text = page.read_text()
    assert all(name in text for name in (*NAMES, 'published', '72.6', 'tvmonitor'))
    assert (folder / 'report' / 'results.md').exists()
    assert re.search(r'\[2/2\] small_mobilenext seed 0', printed)


def test_again_repeats_nothing(compared, pair):
    folder = compared[0]
    before = contents(folder, 'runs/*/*/*.pth') | contents(folder, 'runs/*/*/predictions.npz')
    profile, page = contents(folder, 'profile/*.json'), (folder / 'report/index.html').read_bytes()
    done = benchmark(*pair, '--work-dir', folder, '--jobs', 2)
    assert '2 done already' in done.stdout
    after = contents(folder, 'runs/*/*/*.pth') | contents(folder, 'runs/*/*/predictions.npz')
    assert after == before and contents(folder, 'profile/*.json') == profile
    assert (folder / 'report/index.html').read_bytes() == page


def test_killed_resumed_and_the_same(compared, pair, tmp_path):
    """Killed after the first checkpoint it resumes, and the undisturbed run repeats to the bit."""
    folder = tmp_path / 'killed'
    first = folder / 'runs' / NAMES[0] / 'seed0'
    kill_benchmark_when(
        (first / 'last_checkpoint').exists, *pair, '--work-dir', folder, '--jobs', 1
    )
    assert not (first / 'done.json').exists()
    done = benchmark(*pair, '--work-dir', folder, '--jobs', 1)
    assert 'done already' not in done.stdout
    assert 'resumed epoch: 1' in (first / 'log.txt').read_text()
    ours, theirs = lasting(folder), lasting(compared[0])
    # a resumed training draws other augmentations from there on
    losses = [r['models'][0]['seeds'][0]['curves']['loss'] for r in (ours, theirs)]
    assert losses[0][:4] == losses[1][:4] and len(losses[0]) == len(losses[1]) == 8
    assert ours['models'][1] == theirs['models'][1]
    assert ours['protocol'] == theirs['protocol']


def test_same_weights_show_no_difference_and_two_processes_agree(compared, pair, weights, tmp_path):
    done = benchmark(
        pair[1], pair[1], '--checkpoints', weights[1], weights[1], '--work-dir', tmp_path,
        '--launcher', 'pytorch', '--processes', 2,
    )  # fmt: skip
    results = results_of(tmp_path)
    comparison = results['comparisons'][0]
    assert comparison['verdict'] == 'no difference shown' in done.stdout
    assert comparison['difference'] == 0 and comparison['interval'] == [0, 0]
    one = results_of(compared[0])['models'][1]['seeds'][0]
    two = results['models'][0]['seeds'][0]
    assert two['metrics'] == pytest.approx(one['metrics'], abs=1e-4)
    records = DetectionRecords.load(tmp_path / 'runs' / NAMES[1] / 'seed0' / 'predictions.npz')
    single = DetectionRecords.load(compared[0] / 'runs' / NAMES[1] / 'seed0' / 'predictions.npz')
    assert records.ground_truth_digest() == single.ground_truth_digest()
    # the curves of the training lie beside the checkpoint
    assert two['curves'] == one['curves']


def test_destroyed_weights_are_worse_on_a_cluster(voc, tmp_path):
    """A detector that knows its few test images by heart, against noise; run by submitit."""
    more = """
test_dataloader = dict(dataset=dict(ann_file='VOC2007/ImageSets/Main/train.txt'))
train_dataloader = dict(dataset=dict(pipeline={{_base_.test_pipeline}}))
train_cfg = dict(max_epochs=40, val_interval=40)
param_scheduler = []
optim_wrapper = dict(optimizer=dict(lr=1e-3))
"""
    more = more.replace('{{_base_.test_pipeline}}', PIPELINE)
    config = write_config(tmp_path, voc, 'mobilenext', more)
    run_tool('train.py', config, '--work-dir', tmp_path / 'train')
    good, bad = tmp_path / 'train' / 'epoch_40.pth', tmp_path / 'bad.pth'
    checkpoint = torch.load(good, weights_only=False)
    generator = torch.Generator().manual_seed(0)
    for name, value in checkpoint['state_dict'].items():
        if name.startswith('bbox_head') and value.dim() > 1:
            value.copy_(torch.randn(value.shape, generator=generator) * 0.01)
    torch.save(dict(state_dict=checkpoint['state_dict'], meta=checkpoint['meta']), bad)
    done = benchmark(
        config, config, '--checkpoints', good, bad, '--work-dir', tmp_path / 'wd',
        '--cluster', 'local', '--cluster-options', 'timeout_min=10',
    )  # fmt: skip
    results = results_of(tmp_path / 'wd')
    assert results['models'][0]['summary']['voc_11point']['mean'] > 0.3
    assert results['comparisons'][0]['verdict'] == 'worse'
    assert results['comparisons'][0]['interval'][1] < 0
    assert 'small_mobilenext-2 is worse than small_mobilenext' in done.stdout
    assert len(list((tmp_path / 'wd' / 'cluster').iterdir())) > 1
    # the headline is what mmdet's own metric says of the same checkpoint
    done = run_tool('test.py', config, good, '--work-dir', tmp_path / 'tested')
    theirs = re.findall(r'pascal_voc/mAP: ([\d.]+)', done.stdout + done.stderr)[-1]
    ours = results['models'][0]['seeds'][0]['metrics']['voc_11point']
    assert float(theirs) == pytest.approx(ours, abs=1e-3)  # it breaks ties in score by chance


PIPELINE = """[
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='DropDifficult'),
    dict(type='Resize', scale=(128, 128), keep_ratio=False),
    dict(type='PackDetInputs'),
]"""


def test_failed_run_keeps_the_other(voc, pair, tmp_path):
    bad = write_config(tmp_path, voc, more='optim_wrapper = dict(optimizer=dict(lr=1e12))')
    bad = bad.rename(tmp_path / 'bad.py')
    done = benchmark(pair[0], bad, '--work-dir', tmp_path / 'wd', '--jobs', 2, check=False)
    assert done.returncode == 1
    assert re.search(r'RunFailedError: 1 of 2 runs failed(.|\n)*bad seed 0', done.stderr)
    assert 'Traceback' not in done.stderr.split('RunFailedError')[0]
    assert (tmp_path / 'wd' / 'runs' / NAMES[0] / 'seed0' / 'done.json').exists()
    assert not (tmp_path / 'wd' / 'report').exists()


def test_full_disk_while_the_report_is_written(compared, pair, tmp_path, monkeypatch):
    folder = tmp_path / 'wd'
    shutil.copytree(compared[0], folder)
    before = {p: p.read_bytes() for p in (folder / 'report').rglob('*') if p.is_file()}
    runs = contents(folder, 'runs/*/*/*')
    put = AtomicLocalBackend.put

    def full(self, obj, filepath):
        if Path(filepath).name == 'index.html':
            raise OSError(errno.ENOSPC, 'No space left on device', str(filepath))
        put(self, obj, filepath)

    monkeypatch.setattr(AtomicLocalBackend, 'put', full)
    with pytest.raises(RuntimeError, match=r'No space left on device.*index\.html.*are kept'):
        compare_from_options(
            list(map(str, pair)), str(folder), jobs=2, threads=1, latency_runs=3, train_runs=2,
            resamples=200,
        )  # fmt: skip
    page = folder / 'report' / 'index.html'
    assert page.read_bytes() == before[page]
    assert {p for p in (folder / 'report').rglob('*') if p.is_file()} == set(before)
    # nothing of the runs but what says how they are done was written again
    changed = {p for p, state in contents(folder, 'runs/*/*/*').items() if state != runs[p]}
    assert {Path(p).name for p in changed} <= {'config.py', 'run.json'}


def test_other_config_in_the_same_folder(compared, voc, tmp_path):
    configs = write_pair(tmp_path, voc, 'optim_wrapper = dict(optimizer=dict(lr=0.5))')
    done = benchmark(*configs, '--work-dir', compared[0], '--jobs', 2, check=False)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert 'config small_mobilenetv2: optim_wrapper.optimizer.lr: 0.003 -> 0.5' in done.stderr
