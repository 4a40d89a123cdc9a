# SPDX-License-Identifier: Apache-2.0
"""Freed memory is kept while a run on the CPU lasts, and nothing else changes."""

import json
import os
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from mmdet_mobilenext.engine import keep_memory_hook
from mmdet_mobilenext.engine.keep_memory_hook import (
    KeepMemoryHook,
    keep_freed_memory,
    keeps_memory,
    memory_is_kept,
)

needs_glibc = pytest.mark.skipif(
    not keep_freed_memory(False) or torch.cuda.is_available(), reason='needs glibc and no GPU'
)

FAULTS = """
import json, resource
import torch
from mmdet_mobilenext.engine.keep_memory_hook import keep_freed_memory, separate_large_blocks

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        torch.ones(16_000_000)  # 64 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

found = {}
for name, setting in (
    ('apart', separate_large_blocks),
    ('kept', keep_freed_memory),
    ('given back', lambda: keep_freed_memory(False)),
):
    assert setting()
    for _ in range(3):
        torch.ones(16_000_000)
    found[name] = faults()
print(json.dumps(found))
"""


@needs_glibc
def test_kept_memory_is_not_fetched_again():
    """Pages that the system hands out: none for blocks that were kept."""
    done = subprocess.run(
        [sys.executable, '-c', FAULTS], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found['kept'] < min(found['given back'], found['apart']) / 10


@pytest.fixture(autouse=True)
def _as_before():
    yield
    keep_freed_memory(False)


class Model(BaseModel):
    """Two layers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(3, 3), nn.Linear(3, 1)

    def forward(self, inputs, mode='loss'):
        return dict(loss=self.last(self.first(torch.stack(inputs))).square().sum())


class Watch(Hook):
    """Where the gradients lie after each step."""

    priority = 'VERY_LOW'

    def __init__(self):
        self.places, self.values = [], []

    def after_train_iter(self, runner, *args, **kwargs):
        grad = runner.model.first.weight.grad
        self.places.append(None if grad is None else grad.data_ptr())
        self.values.append(None if grad is None else grad.abs().sum().item())


def train(tmp_path, hooks):
    watch = Watch()
    runner = Runner(
        Model(),
        work_dir=str(tmp_path),
        train_dataloader=dict(
            dataset=[dict(inputs=torch.full((3,), float(i))) for i in range(5)],
            batch_size=1,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.01)),
        custom_hooks=[watch, *hooks],
        default_hooks=dict(checkpoint=None),
        experiment_name=f'keep-{len(hooks)}',
    )
    runner.train()
    return watch, runner.model.state_dict()


@needs_glibc
def test_gradients_stay_and_training_is_the_same(tmp_path):
    with_hook, weights = train(tmp_path, [dict(type='KeepMemoryHook')])
    without, expected = train(tmp_path, [])
    assert without.places == [None] * 5
    assert len(set(with_hook.places)) == 1 and with_hook.values == [0.0] * 5
    for name, weight in expected.items():
        assert torch.equal(weights[name], weight)


@needs_glibc
def test_memory_is_kept_from_the_third_step_to_the_end(tmp_path, monkeypatch):
    """Large blocks are placed apart first; workers and later runs are as before."""
    settings = []
    mallopt = keep_memory_hook._mallopt

    def record(values, kept):
        settings.append(values)
        return mallopt(values, kept)

    class Note(Hook):
        def after_train_iter(self, runner, *args, **kwargs):
            settings.append(runner.iter)

    monkeypatch.setattr(keep_memory_hook, '_mallopt', record)
    train(tmp_path, [dict(type='KeepMemoryHook'), Note()])
    keep, apart, back = (
        getattr(keep_memory_hook, name) for name in ('KEEP', 'SEPARATE', 'GIVE_BACK')
    )
    assert settings == [apart, 0, keep, 1, 2, 3, 4, back]
    assert memory_is_kept() is False


@needs_glibc
def test_testing_keeps_memory_from_the_start(tmp_path, monkeypatch):
    class Test:
        model = Model()

    hook = KeepMemoryHook()
    hook.before_test(Test)
    assert memory_is_kept() is True
    hook.after_run(Test)
    assert memory_is_kept() is False


@needs_glibc
def test_workers_do_as_glibc_does():
    keep_freed_memory()
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.write(write, str(memory_is_kept()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 99) == b'False' and memory_is_kept() is True


def test_bad_first_iterations():
    with pytest.raises(ValueError, match='first_iterations must be at least 1, but received 0'):
        KeepMemoryHook(first_iterations=0)


def test_which_configs_keep_memory(configs):
    cfg = Config.fromfile(configs / 'ssdlite_mobilenext_voc.py')
    assert keeps_memory(cfg) == (not torch.cuda.is_available())
    cfg.default_hooks.keep_memory = None
    assert not keeps_memory(cfg)
