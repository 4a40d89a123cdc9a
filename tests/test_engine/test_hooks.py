# SPDX-License-Identifier: Apache-2.0
"""Hooks, checks of the environment and the header, without a whole run."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn as nn
from mmengine.config import Config
from mmengine.optim import OptimWrapper

from mmdet_mobilenext.engine import MemoryFormatHook, NonFiniteLossError, NonFiniteLossHook
from mmdet_mobilenext.engine.complexity import count_madds, count_parameters
from mmdet_mobilenext.engine.environment import EnvironmentCheckError, check_environment
from mmdet_mobilenext.engine.run_header_hook import effective_batch_size, input_shape_of


def fake_runner(model=None):
    model = model or nn.Conv2d(3, 8, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.25)
    return SimpleNamespace(
        model=model, optim_wrapper=OptimWrapper(optimizer), iter=41, max_iters=100, world_size=2
    )


@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
def test_non_finite_loss_tells_iteration_rate_and_losses(bad):
    outputs = dict(
        loss=torch.tensor(bad, requires_grad=True),
        loss_cls=torch.tensor(bad),
        acc=torch.tensor(bad),
    )
    with pytest.raises(NonFiniteLossError) as error:
        NonFiniteLossHook().after_train_iter(fake_runner(), 41, outputs=outputs)
    for part in ('iteration 42 of 100', 'learning rate 0.25', 'loss_cls', '--auto-scale-lr'):
        assert part in str(error.value)
    assert 'acc' not in str(error.value).split('Nothing')[0]


def test_finite_losses_pass():
    NonFiniteLossHook().after_train_iter(fake_runner(), 0, outputs=dict(loss=torch.tensor(3.0)))
    NonFiniteLossHook().after_train_iter(fake_runner(), 0, outputs=None)


def test_interval_of_the_loss_check():
    hook, bad = NonFiniteLossHook(interval=10), dict(loss=torch.tensor(float('nan')))
    hook.after_train_iter(fake_runner(), 0, outputs=bad)
    with pytest.raises(NonFiniteLossError):
        hook.after_train_iter(fake_runner(), 9, outputs=bad)
    with pytest.raises(ValueError, match='interval must be at least 1'):
        NonFiniteLossHook(interval=0)


def test_the_loss_check_comes_before_the_checkpoint():
    from mmengine.runner.priority import get_priority

    from mmdet_mobilenext.engine import AtomicCheckpointHook

    assert get_priority(NonFiniteLossHook.priority) < get_priority(AtomicCheckpointHook.priority)


@pytest.mark.parametrize(
    ('setting', 'channels_last'),
    [('auto', not torch.cuda.is_available()), (True, True), (False, False)],
)
def test_memory_format(setting, channels_last):
    runner = fake_runner()
    for stage in ('before_train', 'before_val', 'before_test'):
        getattr(MemoryFormatHook(setting), stage)(runner)
    weight = runner.model.weight
    assert weight.is_contiguous(memory_format=torch.channels_last) == channels_last
    with pytest.raises(ValueError, match="received 'maybe'"):
        MemoryFormatHook('maybe')


def test_counts_of_a_known_network():
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),  # 3 * 9 * 8 per pixel
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8),  # 9 * 8 per pixel
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    ).train()
    assert count_madds(net, (10, 6)) == 3 * 9 * 8 * 60 + 9 * 8 * 15 + 40
    assert net.training  # as it was before
    assert count_parameters(net) == 3 * 9 * 8 + 8 + 16 + 72 + 8 + 45


def test_effective_batch_size_counts_processes_and_accumulation():
    runner = fake_runner()
    runner.train_dataloader = SimpleNamespace(batch_size=24)
    assert effective_batch_size(runner) == 48
    runner.optim_wrapper = OptimWrapper(runner.optim_wrapper.optimizer, accumulative_counts=3)
    assert effective_batch_size(runner) == 144


def test_input_shape():
    assert input_shape_of([dict(type='A'), dict(type='Resize', scale=(320, 160))]) == (160, 320)
    assert input_shape_of([dict(type='Resize', scale=300)]) == (300, 300)
    assert input_shape_of([]) is None


def test_mmcv_without_cuda_on_a_gpu_machine_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda *a: 'Some GPU')
    monkeypatch.setattr('mmcv.ops.get_compiling_cuda_version', lambda: 'not available')
    with pytest.raises(EnvironmentCheckError, match=r'Some GPU.*FORCE_CUDA=1'):
        check_environment(Config(dict()))
    monkeypatch.setattr('mmcv.ops.get_compiling_cuda_version', lambda: '12.8')
    check_environment(Config(dict()))


def test_launcher_without_torchrun_is_named(monkeypatch):
    monkeypatch.delenv('RANK', raising=False)
    with pytest.raises(EnvironmentCheckError, match=r'dist_train.sh'):
        check_environment(Config(dict(launcher='pytorch')))


def test_weights_that_are_not_finite_are_never_saved():
    from mmdet_mobilenext.engine.atomic_checkpoint_hook import refuse_non_finite

    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    refuse_non_finite(model)
    model[1].running_var[2] = float('inf')
    with pytest.raises(NonFiniteLossError, match=r'1\.running_var.*no checkpoint was written'):
        refuse_non_finite(model)


def test_optimizer_state_follows_the_layout_of_the_weights():
    """A state resumed contiguous, as another machine wrote it, and a fused step on it."""
    results = []
    for contiguous in (False, True):
        torch.manual_seed(0)
        model = nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
        model.weight.grad = torch.rand_like(model.weight)
        model.bias.grad = torch.zeros_like(model.bias)
        optimizer.step()
        if contiguous:
            for state in optimizer.state.values():
                state.update({k: v.contiguous() for k, v in state.items() if v.dim() == 4})
        runner = SimpleNamespace(model=model, optim_wrapper=OptimWrapper(optimizer))
        MemoryFormatHook(True).before_train(runner)
        torch.manual_seed(1)
        model.weight.grad = torch.rand(model.weight.shape).contiguous(
            memory_format=torch.channels_last
        )
        optimizer.step()
        results.append(model.weight.detach().clone())
    torch.testing.assert_close(*results)
