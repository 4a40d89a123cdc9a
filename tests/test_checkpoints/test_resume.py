# SPDX-License-Identifier: Apache-2.0
import errno
import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.fileio import get_file_backend, put
from mmengine.registry import HOOKS
from mmengine.runner import find_latest_checkpoint
from toy_runner import ToyMetric, ToyNet, toy_runner

from mmdet_mobilenext.checkpoints import resume
from mmdet_mobilenext.checkpoints.resume import find_resumable
from mmdet_mobilenext.checkpoints.safe_loading import (
    CheckpointFileError,
    UnsafeCheckpointError,
    fetch_checkpoint,
    load_safely,
)
from mmdet_mobilenext.engine.atomic_checkpoint_hook import (
    AtomicCheckpointHook,
    AtomicLocalBackend,
    remove_leftovers,
    write_last_checkpoint,
)


def names(folder, pattern='*'):
    return sorted(path.name for path in pathlib.Path(folder).glob(pattern))


def temporaries(folder):
    return [name for name in os.listdir(folder) if name.endswith('.tmp')]


@pytest.fixture
def warnings(monkeypatch):
    messages = []
    monkeypatch.setattr(resume, '_warn', messages.append)
    return messages


def fake(folder, name, iteration=1, **changes):
    """A checkpoint that has what a training's one has."""
    content = dict(meta=dict(epoch=1, iter=iteration), state_dict={}, message_hub={}, optimizer={})
    content.update(changes)
    path = folder / name
    torch.save({k: v for k, v in content.items() if v is not None}, path)
    return str(path)


def cut(path):
    """Truncate a file, as a kill during a write in place does."""
    os.truncate(path, os.path.getsize(path) // 2)


class TestAtomicBackend:
    def test_registered(self, tmp_path):
        backend = get_file_backend(backend_args=dict(backend='atomic_local'))
        assert isinstance(backend, AtomicLocalBackend)
        put(b'content', tmp_path / 'new' / 'file', backend_args=dict(backend='atomic_local'))
        backend.put_text('text', tmp_path / 'text')
        assert (tmp_path / 'new' / 'file').read_bytes() == b'content'
        assert (tmp_path / 'text').read_text() == 'text'
        assert names(tmp_path) == ['new', 'text']

    def test_permissions_are_those_of_a_plain_file(self, tmp_path):
        (tmp_path / 'plain').write_bytes(b'')
        AtomicLocalBackend().put(b'', tmp_path / 'atomic')
        assert (tmp_path / 'plain').stat().st_mode == (tmp_path / 'atomic').stat().st_mode

    def test_relative_path(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        AtomicLocalBackend().put(b'content', 'file')
        assert (tmp_path / 'file').read_bytes() == b'content'

    @pytest.mark.parametrize('step', ['fsync', 'replace'])
    @pytest.mark.parametrize('error', [OSError(errno.ENOSPC, 'No space left'), KeyboardInterrupt()])
    def test_failure_leaves_the_old_file_alone(self, tmp_path, monkeypatch, step, error):
        path = tmp_path / 'file'
        path.write_bytes(b'old')

        def fail(*args):
            raise error

        monkeypatch.setattr(os, step, fail)
        with pytest.raises(type(error)) as caught:
            AtomicLocalBackend().put(b'new content', path)
        assert path.read_bytes() == b'old'
        assert names(tmp_path) == ['file']
        if isinstance(error, OSError):
            assert caught.value.errno == errno.ENOSPC
            assert str(path) in str(caught.value) and '11 bytes' in str(caught.value)

    def test_leftovers(self, tmp_path):
        child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
        for pid in (os.getpid(), child.pid):
            (tmp_path / f'.epoch_1.pth.{pid}-{"0" * 32}.tmp').touch()
        others = ['epoch_1.pth', '.hidden', 'notes.tmp', '.swap.123.tmp']
        for name in others:
            (tmp_path / name).touch()
        alive = f'.epoch_1.pth.{child.pid}-{"0" * 32}.tmp'
        removed = remove_leftovers(str(tmp_path))
        assert [os.path.basename(path) for path in removed] == [
            f'.epoch_1.pth.{os.getpid()}-{"0" * 32}.tmp'
        ]
        assert set(os.listdir(tmp_path)) == {alive, *others}
        child.kill()
        child.wait()
        assert [os.path.basename(path) for path in remove_leftovers(str(tmp_path))] == [alive]
        assert remove_leftovers(str(tmp_path / 'absent')) == []


class TestAtomicCheckpointHook:
    def test_registered(self):
        assert HOOKS.get('AtomicCheckpointHook') is AtomicCheckpointHook

    @pytest.mark.parametrize(
        ('arguments', 'backend_args'),
        [
            ({}, dict(backend='atomic_local')),
            (dict(out_dir='elsewhere'), dict(backend='atomic_local')),
            (dict(out_dir='s3://bucket/runs'), None),
            (dict(backend_args=dict(backend='local')), dict(backend='local')),
            (dict(file_client_args=dict(backend='disk')), None),
        ],
    )
    def test_backend(self, arguments, backend_args):
        assert AtomicCheckpointHook(1, **arguments).backend_args == backend_args

    def test_same_files_as_mmengine(self, tmp_path):
        for kind in ('CheckpointHook', 'AtomicCheckpointHook'):
            ToyMetric.score = 0.0
            checkpoint = dict(type=kind, interval=1, max_keep_ckpts=2, save_best='toy/mAP')
            toy_runner(tmp_path / kind, epochs=4, checkpoint=checkpoint).train()
        expected = ['best_toy_mAP_epoch_4.pth', 'epoch_3.pth', 'epoch_4.pth']
        for kind in ('CheckpointHook', 'AtomicCheckpointHook'):
            assert names(tmp_path / kind, '*.pth') == expected
            assert temporaries(tmp_path / kind) == []
            last = find_latest_checkpoint(str(tmp_path / kind))
            assert last == str(tmp_path / kind / 'epoch_4.pth')
        theirs, ours = (
            load_safely(tmp_path / kind / 'epoch_4.pth')
            for kind in ('CheckpointHook', 'AtomicCheckpointHook')
        )
        assert all(torch.equal(v, ours['state_dict'][k]) for k, v in theirs['state_dict'].items())
        infos = [c['message_hub']['runtime_info'] for c in (theirs, ours)]
        assert infos[0]['keep_ckpt_ids'] == infos[1]['keep_ckpt_ids'] == [3, 4]
        assert infos[0]['best_score'] == infos[1]['best_score']

    def test_iterations_and_several_best(self, tmp_path):
        ToyMetric.score = 0.0
        checkpoint = dict(
            type='AtomicCheckpointHook',
            by_epoch=False,
            interval=1,
            max_keep_ckpts=1,
            save_best=['toy/mAP', 'toy/mAP32'],
            rule='greater',
        )
        toy_runner(
            tmp_path,
            checkpoint=checkpoint,
            train_cfg=dict(by_epoch=False, max_iters=4, val_interval=2),
            param_scheduler=None,
        ).train()
        assert names(tmp_path, '*.pth') == [
            'best_toy_mAP32_iter_2.pth',
            'best_toy_mAP_iter_4.pth',
            'iter_4.pth',
        ]

    def test_out_dir_as_path(self, tmp_path):
        """Its checkpoints must be plain data all the same."""
        checkpoint = dict(
            type='AtomicCheckpointHook', interval=1, out_dir=tmp_path / 'out', save_best='toy/mAP'
        )
        toy_runner(tmp_path / 'run', epochs=1, checkpoint=checkpoint).train()
        found = find_resumable(tmp_path / 'run')
        assert found == str(tmp_path / 'out' / 'run' / 'epoch_1.pth')
        assert type(load_safely(found)['message_hub']['runtime_info']['last_ckpt']) is str

    @pytest.mark.parametrize('kind', ['CheckpointHook', 'AtomicCheckpointHook'])
    def test_always_one_that_loads(self, tmp_path, monkeypatch, kind):
        """At each moment of a run with max_keep_ckpts=1; mmengine's hook fails this."""
        seen = []

        def watch(module, name):
            real = getattr(module, name)

            def watched(path, *args, **kwargs):
                result = real(path, *args, **kwargs)
                if str(tmp_path) in str(path):
                    seen.append(names(tmp_path, 'epoch_*.pth'))
                return result

            monkeypatch.setattr(module, name, watched)

        watch(os, 'remove')
        watch(os, 'replace')
        checkpoint = dict(type=kind, interval=1, max_keep_ckpts=1)
        toy_runner(tmp_path, epochs=3, checkpoint=checkpoint).train()
        assert names(tmp_path, 'epoch_*.pth') == ['epoch_3.pth']
        if kind == 'AtomicCheckpointHook':
            assert ['epoch_2.pth', 'epoch_3.pth'] in seen and all(seen)
        else:
            assert [] in seen

    @pytest.mark.parametrize('failing', ['epoch_2.pth', 'best_toy_mAP_epoch_2.pth'])
    def test_failed_write_keeps_what_there_is(self, tmp_path, monkeypatch, failing):
        ToyMetric.score = 0.0
        real = os.replace

        def replace(source, target):
            if os.path.basename(target) == failing:
                raise OSError(errno.ENOSPC, 'No space left on device')
            real(source, target)

        monkeypatch.setattr(os, 'replace', replace)
        checkpoint = dict(
            type='AtomicCheckpointHook', interval=1, max_keep_ckpts=1, save_best='toy/mAP'
        )
        with pytest.raises(OSError, match=failing):
            toy_runner(tmp_path, epochs=2, checkpoint=checkpoint).train()
        assert temporaries(tmp_path) == []
        load_safely(tmp_path / 'best_toy_mAP_epoch_1.pth')
        newest = 'epoch_1.pth' if failing == 'epoch_2.pth' else 'epoch_2.pth'
        assert find_resumable(tmp_path) == str(tmp_path / newest)

    def test_old_best_is_removed_after_a_move(self, tmp_path):
        ToyMetric.score = 0.0
        checkpoint = dict(type='AtomicCheckpointHook', interval=1, save_best='toy/mAP')
        toy_runner(tmp_path / 'first', epochs=1, checkpoint=checkpoint).train()
        shutil.move(tmp_path / 'first', tmp_path / 'second')
        found = find_resumable(tmp_path / 'second')
        assert found == str(tmp_path / 'second' / 'epoch_1.pth')
        toy_runner(
            tmp_path / 'second', epochs=2, checkpoint=checkpoint, load_from=found, resume=True
        ).train()
        assert names(tmp_path / 'second', 'best*') == ['best_toy_mAP_epoch_2.pth']

    def test_published_name_is_the_checksum_of_the_file(self, tmp_path):
        checkpoint = dict(
            type='AtomicCheckpointHook', interval=1, published_keys=['meta', 'state_dict']
        )
        toy_runner(tmp_path, epochs=1, checkpoint=checkpoint).train()
        (path,) = tmp_path.glob('epoch_1-*.pth')
        checksum = hashlib.sha256(path.read_bytes()).hexdigest()
        assert path.name == f'epoch_1-{checksum[:8]}.pth'
        assert load_safely(path).keys() == {'meta', 'state_dict'}
        # so it can be put on a server as it is
        assert fetch_checkpoint(f'http://localhost/{path.name}', str(tmp_path)) == str(path)


class TestFindResumable:
    def test_nothing(self, tmp_path, warnings):
        assert find_resumable(tmp_path / 'absent') is None
        assert find_resumable(tmp_path) is None
        fake(tmp_path, 'best_mAP_epoch_1.pth')  # not one to resume from
        assert find_resumable(tmp_path) is None
        assert not warnings and names(tmp_path) == ['best_mAP_epoch_1.pth']

    def test_last_checkpoint_comes_first(self, tmp_path):
        """An older, longer run in the same directory is not the newest."""
        for number in (1, 2, 12):
            fake(tmp_path, f'epoch_{number}.pth')
        write_last_checkpoint(str(tmp_path), str(tmp_path / 'epoch_2.pth'))
        assert find_resumable(tmp_path) == str(tmp_path / 'epoch_2.pth')

    @pytest.mark.parametrize(
        'last', [None, '', '\n', '\0\0\0', 'epoch_77.pth', '/gone/epoch_77.pth']
    )
    def test_highest_number_and_repair(self, tmp_path, warnings, last):
        for number in (2, 9, 10):
            fake(tmp_path, f'epoch_{number}.pth')
        pointer = tmp_path / 'last_checkpoint'
        if last is not None:
            pointer.write_text(last)
        assert find_resumable(tmp_path) == str(tmp_path / 'epoch_10.pth')
        assert len(warnings) == (last is not None)
        assert find_latest_checkpoint(str(tmp_path)) == str(tmp_path / 'epoch_10.pth')
        assert temporaries(tmp_path) == []
        warnings.clear()
        assert find_resumable(tmp_path) == str(tmp_path / 'epoch_10.pth')
        assert not warnings

    def test_broken_ones_are_passed_over_by_name(self, tmp_path, warnings):
        for number in range(1, 6):
            fake(tmp_path, f'epoch_{number}.pth')
        cut(tmp_path / 'epoch_5.pth')
        (tmp_path / 'epoch_4.pth').write_bytes(b'')
        fake(tmp_path, 'epoch_3.pth', message_hub=None)
        write_last_checkpoint(str(tmp_path), str(tmp_path / 'epoch_5.pth'))
        assert find_resumable(tmp_path) == str(tmp_path / 'epoch_2.pth')
        assert len(warnings) == 3
        for number, warning in zip((5, 4, 3), warnings, strict=True):
            assert f'epoch_{number}.pth' in warning
        assert 'message_hub' in warnings[2]
        assert find_latest_checkpoint(str(tmp_path)) == str(tmp_path / 'epoch_2.pth')

    def test_epochs_and_iterations(self, tmp_path):
        fake(tmp_path, 'epoch_3.pth', iteration=300)
        fake(tmp_path, 'iter_200.pth', iteration=200)
        assert find_resumable(tmp_path) == str(tmp_path / 'epoch_3.pth')
        os.remove(tmp_path / 'last_checkpoint')
        fake(tmp_path, 'iter_350.pth', iteration=350)
        assert find_resumable(tmp_path) == str(tmp_path / 'iter_350.pth')

    def test_none_loads(self, tmp_path, warnings):
        for number in (1, 2):
            cut(fake(tmp_path, f'epoch_{number}.pth'))
        (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
        with pytest.raises(CheckpointFileError, match=r'epoch_2\.pth(.|\n)*epoch_1\.pth'):
            find_resumable(tmp_path)
        assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_2.pth')

    def test_last_checkpoint_without_any(self, tmp_path, warnings):
        (tmp_path / 'last_checkpoint').write_text('/unmounted/epoch_2.pth')
        with pytest.raises(CheckpointFileError, match=r'/unmounted/epoch_2\.pth.*remove'):
            find_resumable(tmp_path)
        (tmp_path / 'last_checkpoint').write_text('')
        assert find_resumable(tmp_path) is None

    @pytest.mark.parametrize(
        ('changes', 'lacks'),
        [
            (dict(meta=dict(epoch=1)), "meta['iter']"),
            (dict(meta=None), 'meta'),
            (dict(meta=3), 'meta'),
            (dict(state_dict=None), 'state_dict'),
        ],
    )
    def test_not_of_a_training(self, tmp_path, warnings, changes, lacks):
        fake(tmp_path, 'epoch_1.pth', **changes)
        with pytest.raises(CheckpointFileError) as caught:
            find_resumable(tmp_path)
        assert f'lacks {lacks}' in str(caught.value)

    def test_without_optimizer_is_said(self, tmp_path, warnings):
        fake(tmp_path, 'epoch_1.pth', optimizer=None)
        assert find_resumable(tmp_path)
        assert 'no optimizer' in warnings[0]

    def test_foreign_code_is_not_passed_over(self, tmp_path, warnings):
        """It is not broken: going on from an older one would lose work without a word."""
        fake(tmp_path, 'epoch_1.pth')
        fake(tmp_path, 'epoch_2.pth', extra=ToyNet())
        with pytest.raises(UnsafeCheckpointError, match=r'epoch_2\.pth.*ToyNet'):
            find_resumable(tmp_path)

    def test_moved_and_copied_runs(self, tmp_path):
        run = tmp_path / 'run'
        run.mkdir()
        path = fake(run, 'epoch_1.pth')
        assert find_resumable(run) == path
        shutil.copytree(run, tmp_path / 'copy')
        assert find_resumable(tmp_path / 'copy') == str(tmp_path / 'copy' / 'epoch_1.pth')
        assert find_resumable(run) == path
        shutil.move(run, tmp_path / 'moved')
        moved = str(tmp_path / 'moved' / 'epoch_1.pth')
        assert find_resumable(tmp_path / 'moved') == moved
        assert find_latest_checkpoint(str(tmp_path / 'moved')) == moved

    def test_relative_work_dir(self, tmp_path, monkeypatch):
        fake(tmp_path, 'epoch_1.pth')
        monkeypatch.chdir(tmp_path)
        assert find_resumable('.') == str(tmp_path / 'epoch_1.pth')

    def test_checkpoints_elsewhere(self, tmp_path, warnings):
        """`out_dir` of the hook: the pointer is in one directory, the files are in another."""
        run, out = tmp_path / 'run', tmp_path / 'out'
        run.mkdir()
        out.mkdir()
        paths = [fake(out, f'epoch_{number}.pth') for number in (1, 2)]
        write_last_checkpoint(str(run), paths[1])
        assert find_resumable(run) == paths[1]
        cut(paths[1])
        assert find_resumable(run) == paths[0]

    def test_remote_checkpoint(self, tmp_path):
        (tmp_path / 'last_checkpoint').write_text('s3://bucket/epoch_2.pth')
        assert find_resumable(tmp_path) == 's3://bucket/epoch_2.pth'


# Trains; the write of a checkpoint whose number is `sys.argv[2]` stops half-way, until the kill.
KILLED_TRAINING = """
import os, sys, time
sys.path.insert(0, {tests!r})
from toy_runner import toy_runner
from mmdet_mobilenext.engine import atomic_checkpoint_hook

count = 0
real = os.fsync

def slow(descriptor):
    global count
    if os.path.isdir(f'/proc/self/fd/{{descriptor}}') or os.path.getsize(
        f'/proc/self/fd/{{descriptor}}') < 1000:
        return real(descriptor)
    count += 1
    if count == int(sys.argv[2]):
        os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
        print('writing', flush=True)
        time.sleep(300)
    real(descriptor)

atomic_checkpoint_hook.os.fsync = slow
toy_runner(sys.argv[1], epochs=4, checkpoint=dict(
    type='AtomicCheckpointHook', interval=1, max_keep_ckpts=1, save_best='toy/mAP')).train()
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir('/proc/self/fd'), reason='looks at files through /proc')
@pytest.mark.parametrize(
    ('write', 'left'),
    [
        # Writes of one epoch: itself, its best, itself again with the best's name in it.
        (4, ['best_toy_mAP_epoch_1.pth', 'epoch_1.pth']),
        (5, ['best_toy_mAP_epoch_1.pth', 'epoch_2.pth']),
        (6, ['best_toy_mAP_epoch_1.pth', 'best_toy_mAP_epoch_2.pth', 'epoch_2.pth']),
    ],
)
def test_killed_while_writing(tmp_path, write, left):
    """SIGKILL in the middle of a write; then resume to the end."""
    ToyMetric.score = 0.25
    run = tmp_path / 'run'
    script = tmp_path / 'train.py'
    script.write_text(KILLED_TRAINING.format(tests=os.path.dirname(__file__)))
    child = subprocess.Popen(
        [sys.executable, str(script), str(run), str(write)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=pathlib.Path(__file__).parents[2],
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path))),
    )
    output = []
    try:
        for line in child.stdout:
            output.append(line)
            if line.strip() == 'writing':
                break
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    assert output and output[-1].strip() == 'writing', ''.join(output)
    assert child.returncode == -signal.SIGKILL
    assert names(run, '*.pth') == left
    assert len(temporaries(run)) == 1  # the half-written file
    for name in left:
        load_safely(run / name)
    found = find_resumable(run)
    assert found == str(run / left[-1])

    checkpoint = dict(
        type='AtomicCheckpointHook', interval=1, max_keep_ckpts=1, save_best='toy/mAP'
    )
    runner = toy_runner(run, epochs=4, checkpoint=checkpoint, load_from=found, resume=True)
    runner.train()
    assert (runner.epoch, runner.iter) == (4, 8)
    losses = runner.message_hub.get_scalar('train/loss').data[0]
    assert len(losses) == 8 and np.isfinite(losses).all()
    assert temporaries(run) == []
    assert 'epoch_4.pth' in names(run, '*.pth')
