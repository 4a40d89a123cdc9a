# SPDX-License-Identifier: Apache-2.0
"""Whole runs of the tools on a small generated set."""

import json
import math
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from small_voc import ROOT, environment, make_small_voc, run_tool, small_options

CONFIG = ROOT / 'configs' / 'ssdlite_mobilenext_demo.py'


@pytest.fixture(scope='module')
def voc(tmp_path_factory):
    return make_small_voc(tmp_path_factory.mktemp('voc') / 'VOCdevkit')


@pytest.fixture(scope='module')
def trained(tmp_path_factory, voc):
    """A finished run of two epochs: its work dir and what it printed."""
    work_dir = tmp_path_factory.mktemp('trained')
    done = run_tool(
        'train.py', CONFIG, '--work-dir', work_dir, '--cfg-options', *small_options(voc)
    )
    return work_dir, done.stdout + done.stderr


def scalars(work_dir):
    """All logged training steps, in order."""
    steps = []
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        steps += [json.loads(line) for line in path.read_text().splitlines()]
    return [s for s in steps if 'loss' in s]


def newest(work_dir):
    return Path((Path(work_dir) / 'last_checkpoint').read_text().strip())


@pytest.mark.slow
def test_training_says_what_it_does(trained):
    work_dir, output = trained
    header = next(line for line in output.splitlines() if 'train 16 images' in line)
    for part in (
        'val 5 images',
        'cpu, 1 threads',
        'M parameters',
        'M multiply-adds at 128x128',
        'batch 4',
        '8 iterations = 2.0 epochs',
    ):
        assert part in header
    assert 'pascal_voc/mAP' in output
    assert re.search(r'eta: \d', output)
    assert 'aeroplane' in output and '| bird ' not in output
    assert newest(work_dir).name == 'epoch_2.pth'
    assert len(scalars(work_dir)) == 8


@pytest.mark.slow
def test_testing_writes_predictions_and_pictures(trained, voc, tmp_path):
    work_dir, _ = trained
    out, pictures = tmp_path / 'predictions.pkl', tmp_path / 'pictures'
    done = run_tool(
        'test.py', CONFIG, newest(work_dir), '--work-dir', tmp_path, '--out', out,
        '--show-dir', pictures, '--cfg-options', *small_options(voc),
    )  # fmt: skip
    assert 'pascal_voc/mAP' in done.stdout + done.stderr
    predictions = pickle.loads(out.read_bytes())
    assert len(predictions) == len({p['img_id'] for p in predictions}) == 5
    ids = (voc / 'VOC2007/ImageSets/Main/test.txt').read_text().split()
    assert sorted(p.name for p in pictures.iterdir()) == sorted(f'{i}.jpg' for i in ids)


@pytest.mark.slow
def test_flip_tta(trained, voc, tmp_path):
    work_dir, _ = trained
    done = run_tool(
        'test.py', CONFIG, newest(work_dir), '--work-dir', tmp_path, '--tta',
        '--cfg-options', *small_options(voc),
    )  # fmt: skip
    assert 'pascal_voc/mAP' in done.stdout + done.stderr


def start(*args):
    command = [sys.executable, str(ROOT / 'tools' / 'train.py'), *map(str, args)]
    return subprocess.Popen(
        command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def wait_for(condition, process, timeout=300):
    deadline = time.time() + timeout
    while not condition():
        assert process.poll() is None, 'the run ended before it could be killed'
        assert time.time() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_kill_and_resume(voc, tmp_path):
    """kill -9 in the middle of the second epoch; --resume ends where an unkilled run ends."""
    options = small_options(voc, **{'train_cfg.max_epochs': 3, 'train_cfg.val_interval': 3})
    args = [CONFIG, '--work-dir', tmp_path, '--cfg-options', *options]
    process = start(*args)
    wait_for(lambda: len(scalars(tmp_path)) >= 6, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert newest(tmp_path).name == 'epoch_1.pth'

    # A write that the kill cut short would look like this.
    (tmp_path / 'epoch_2.pth').write_bytes(newest(tmp_path).read_bytes()[:1000])
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    done = run_tool('train.py', *args[:3], '--resume', *args[3:])
    assert 'epoch_2.pth' in done.stdout + done.stderr  # named, not silently skipped
    checkpoint = torch.load(newest(tmp_path), weights_only=False)
    assert checkpoint['meta']['iter'] == 12 and checkpoint['meta']['epoch'] == 3
    resumed = [s for s in scalars(tmp_path) if s['epoch'] > 1]
    assert all(math.isfinite(s['loss']) for s in resumed)
    assert [s['step'] for s in resumed][-1] == 12


@pytest.mark.slow
def test_resume_of_a_finished_run_does_no_work(trained, voc, tmp_path):
    work_dir = tmp_path / 'copy'
    shutil.copytree(trained[0], work_dir)
    before = newest(work_dir).stat().st_mtime_ns, len(scalars(work_dir))
    run_tool(
        'train.py', CONFIG, '--work-dir', work_dir, '--resume', '--cfg-options', *small_options(voc)
    )
    assert (newest(work_dir).stat().st_mtime_ns, len(scalars(work_dir))) == before


@pytest.mark.slow
def test_same_seed_same_result(trained, voc, tmp_path):
    run_tool('train.py', CONFIG, '--work-dir', tmp_path, '--cfg-options', *small_options(voc))
    first, second = (torch.load(newest(d), weights_only=False) for d in (trained[0], tmp_path))
    assert all(torch.equal(v, second['state_dict'][k]) for k, v in first['state_dict'].items())


@pytest.mark.slow
def test_non_finite_loss_stops_the_run(voc, tmp_path):
    options = small_options(voc, **{'optim_wrapper.optimizer.lr': 1e30, 'param_scheduler': '[]'})
    done = run_tool(
        'train.py', CONFIG, '--work-dir', tmp_path, '--cfg-options', *options, check=False
    )
    assert done.returncode == 1
    message = done.stderr[done.stderr.index('NonFiniteLossError') :]
    assert re.search(r'not finite at iteration \d+ of 8 \(learning rate 1e\+30\)', message)
    assert 'loss_cls' in message and 'Traceback' not in message


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'data_root': 'nowhere'}, 'nowhere'),
        ({'train_dataloader.dataset.ann_file': 'VOC2007/ImageSets/Main/trian.txt'}, 'trian.txt'),
        (
            {
                'train_dataloader.dataset.metainfo.classes': '("aeroplane","boat")',
                'val_dataloader.dataset.metainfo.classes': '("aeroplane","boat")',
                'model.bbox_head.num_classes': 2,
            },
            'unknown',
        ),
    ],
)
def test_data_errors_come_before_the_model(voc, tmp_path, options, message):
    done = run_tool(
        'train.py', CONFIG, '--work-dir', tmp_path, '--cfg-options', *small_options(voc, **options),
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert 'DataCheckError' in done.stderr and message in done.stderr
    assert 'Traceback' not in done.stderr
    assert 'Checkpoints will be saved' not in done.stdout


def test_missing_checkpoint_is_named(voc, tmp_path):
    done = run_tool(
        'test.py', CONFIG, tmp_path / 'no.pth', '--cfg-options', *small_options(voc), check=False
    )
    assert done.returncode == 1 and 'no.pth' in done.stderr and 'Traceback' not in done.stderr


@pytest.mark.slow
def test_checkpoint_of_another_network_is_refused(trained, voc, tmp_path):
    checkpoint = torch.load(newest(trained[0]), weights_only=False)
    checkpoint['state_dict'].pop('backbone.layer3.0.pw_reduce.conv.weight')
    torch.save(checkpoint, tmp_path / 'partial.pth')
    done = run_tool(
        'test.py', CONFIG, tmp_path / 'partial.pth', '--work-dir', tmp_path,
        '--cfg-options', *small_options(voc), check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert 'backbone.layer3.0.pw_reduce.conv.weight' in done.stderr


def test_amp_without_a_gpu_is_refused(voc, tmp_path):
    if torch.cuda.is_available():
        pytest.skip('this machine has a GPU')
    done = run_tool(
        'train.py', CONFIG, '--amp', '--work-dir', tmp_path, '--cfg-options', *small_options(voc),
        check=False,
    )  # fmt: skip
    assert done.returncode == 1 and 'needs a GPU' in done.stderr


@pytest.mark.slow
def test_two_processes_test_each_image_once(trained, voc, tmp_path):
    """Five images on two processes: same metric and the same five predictions as one process."""
    work_dir, _ = trained
    results = {}
    for name, tool, gpus in (('one', 'test.py', ()), ('two', 'dist_test.sh', (2,))):
        out = tmp_path / f'{name}.pkl'
        options = small_options(voc, **{'test_dataloader.batch_size': 1})
        args = [CONFIG, newest(work_dir), *gpus, '--work-dir', tmp_path / name, '--out', out]
        done = run_dist(tool, *args, '--cfg-options', *options)
        text = done.stdout + done.stderr
        metric = re.findall(r'pascal_voc/mAP: ([\d.]+)', text)[-1]
        gts = sum(int(row[1]) for row in re.findall(r'\| (\w+) +\| (\d+) ', text))
        results[name] = metric, gts, [p['img_id'] for p in pickle.loads(out.read_bytes())]
    assert results['one'] == results['two']
    assert len(set(results['two'][2])) == len(results['two'][2]) == 5


def run_dist(tool, *args):
    """Run a distributed tool on a free port."""
    import socket

    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        os.environ['PORT'] = str(s.getsockname()[1])
    try:
        return run_tool(tool, *args)
    finally:
        del os.environ['PORT']


@pytest.mark.slow
def test_two_processes_train_and_resume(voc, tmp_path):
    args = [CONFIG, 2, '--work-dir', tmp_path]
    options = small_options(voc, **{'train_cfg.max_epochs': 1, 'train_cfg.val_interval': 1})
    run_dist('dist_train.sh', *args, '--cfg-options', *options)
    assert newest(tmp_path).name == 'epoch_1.pth'
    done = run_dist('dist_train.sh', *args, '--resume', '--cfg-options', *small_options(voc))
    assert newest(tmp_path).name == 'epoch_2.pth'
    assert 'batch 8' in done.stdout + done.stderr


def test_slurm_script_builds_the_right_command(tmp_path):
    srun = tmp_path / 'srun'
    srun.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    srun.chmod(0o755)
    done = subprocess.run(
        ['bash', ROOT / 'tools' / 'slurm_train.sh', 'gpu', 'job', 'c.py', 'out', '--amp'],
        env={**environment(), 'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'GPUS': '16'},
        capture_output=True,
        text=True,
        check=True,
    )
    words = done.stdout.split()
    for word in ('--ntasks=16', '--ntasks-per-node=8', 'c.py', '--work-dir=out', '--amp'):
        assert word in words
    assert '--launcher=slurm' in words


@pytest.mark.parametrize(
    ('tool', 'args', 'options', 'message'),
    [
        ('train.py', (), {'model.bbox_head.num_classes': 20}, 'num_classes=20.*8 classes'),
        ('train.py', ('--allow-partial',), {}, '--allow-partial is about load_from'),
        ('train.py', ('--auto-scale-lr',), {'auto_scale_lr': '{}'}, 'base_batch_size'),
        ('test.py', ('--out', 'x.json'), {}, "must be a .pkl.*'x.json'"),
    ],
)
def test_options_that_do_not_fit_are_named(voc, tmp_path, tool, args, options, message):
    first = {'train.py': (CONFIG,), 'test.py': (CONFIG, 'no.pth')}[tool]
    done = run_tool(
        tool, *first, *args, '--work-dir', tmp_path,
        '--cfg-options', *small_options(voc, **options), check=False,
    )  # fmt: skip
    assert done.returncode == 1 and 'OptionError' in done.stderr
    assert re.search(message, done.stderr) and 'Traceback' not in done.stderr


@pytest.mark.slow
def test_resume_with_nothing_there_starts_from_load_from(trained, voc, tmp_path):
    weights = newest(trained[0])
    done = run_tool(
        'train.py', CONFIG, '--work-dir', tmp_path, '--resume', '--auto-scale-lr',
        '--cfg-options', *small_options(voc, load_from=weights, **{'train_cfg.max_epochs': 1}),
    )  # fmt: skip
    output = done.stdout + done.stderr
    assert f'starting from {weights}' in output
    assert f'Load checkpoint from {weights}' in output
    assert 'lr 0.0015' in output  # batch 4 where the rate was made for 8
    only_weights = tmp_path / 'weights.pth'
    torch.save(dict(state_dict=torch.load(weights, weights_only=False)['state_dict']), only_weights)
    refused = run_tool(
        'train.py', CONFIG, '--work-dir', tmp_path, '--resume', only_weights,
        '--cfg-options', *small_options(voc), check=False,
    )  # fmt: skip
    assert refused.returncode == 1
    assert 'CheckpointFileError' in refused.stderr and 'load_from' in refused.stderr
    assert 'Traceback' not in refused.stderr
