# SPDX-License-Identifier: Apache-2.0
"""Config fragments: a step, resuming, and the weights that come out, alone and combined."""

import contextlib

import mmengine.optim.optimizer.amp_optimizer_wrapper as amp_module
import mmengine.runner.amp
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner, set_random_seed
from small_voc import ROOT, make_small_voc

from mmdet_mobilenext.checkpoints.publish import publish_checkpoint
from mmdet_mobilenext.checkpoints.strict import check_checkpoint_for_model
from mmdet_mobilenext.engine.config import load_config
from mmdet_mobilenext.engine.environment import (
    EnvironmentCheckError,
    OptionError,
    check_environment,
)
from mmdet_mobilenext.engine.fragments import merge_fragments
from mmdet_mobilenext.engine.train import build_runner

CONFIG = str(ROOT / 'configs' / 'ssdlite_mobilenext_demo.py')
OPTIONS = ROOT / 'configs' / '_base_' / 'options'
NAMES = sorted(path.stem for path in OPTIONS.glob('*.py'))
# tests/test_configs/test_swaps.py: not for SSDLite, whose neck is made for one backbone
SWAPS = {f'{name}_{kind}' for name in ('mobilenext', 'mobilenetv2') for kind in ('fpn', 'pafpn')}
COMBINED = [
    ['ema'],
    ['accumulate_4'],
    ['ema', 'amp_fp16', 'accumulate_4', 'sync_bn'],
    ['sync_bn', 'accumulate_4', 'amp_bf16', 'ema'],
]


@HOOKS.register_module()
class SeedEpoch(Hook):
    """Draw the same crops in an epoch whether or not the run was resumed before it."""

    def before_train_epoch(self, runner):
        set_random_seed(runner.epoch)


@pytest.fixture(scope='module')
def voc(tmp_path_factory):
    return make_small_voc(tmp_path_factory.mktemp('voc') / 'VOCdevkit', train=8, val=2, test=2)


@pytest.fixture
def amp_on_cpu(monkeypatch):
    """Mixed precision on the CPU, which mmengine leaves to GPUs: torch's own, with its scaler."""
    monkeypatch.setattr(amp_module, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(
        amp_module, 'GradScaler', lambda **kwargs: torch.amp.GradScaler(device='cpu', **kwargs)
    )

    @contextlib.contextmanager
    def autocast(dtype=None, **_):
        with torch.autocast('cpu', dtype=dtype):
            yield

    monkeypatch.setattr(mmengine.runner.amp, 'autocast', autocast)


def small_config(voc, work_dir, fragments=(), epochs=2, **options):
    """The demo config: width 0.35, eight images in four batches."""
    options = {
        'data_root': str(voc),
        'model.backbone.widen_factor': 0.35,
        'model.neck.in_channels': (104, 200, 336),
        'model.neck.out_channels': (104, 200, 336, 256),
        'model.bbox_head.in_channels': (104, 200, 336, 256),
        'train_dataloader.batch_size': 2,
        'train_dataloader.num_workers': 0,
        'train_dataloader.persistent_workers': False,
        'val_dataloader.num_workers': 0,
        'val_dataloader.persistent_workers': False,
        'train_cfg.max_epochs': epochs,
        'train_cfg.val_interval': 9,
        'default_hooks.checkpoint.max_keep_ckpts': -1,
        'default_hooks.checkpoint.save_best': None,
        'test_dataloader.num_workers': 0,
        'test_dataloader.persistent_workers': False,
        'experiment_name': f'{work_dir.name}-{"-".join(fragments)}',
        'log_level': 'WARNING',
        'custom_hooks': [dict(type='SeedEpoch')],
        **options,
    }
    cfg = load_config(
        CONFIG, options, str(work_dir), fragments=fragments, fragment_folder=str(OPTIONS)
    )
    if 'amp_fp16' in fragments:
        # its start of 65,536 overflows for the first few steps, which are then left out
        cfg.optim_wrapper.loss_scale = dict(init_scale=128.0)
    return cfg


def read(path):
    return torch.load(path, weights_only=False)


def test_every_fragment_is_tested():
    assert {name for names in COMBINED for name in names} | SWAPS == set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize('fragments', COMBINED, ids='+'.join)
def test_step_resume_and_conversion(fragments, voc, tmp_path, amp_on_cpu):
    runner = build_runner(small_config(voc, tmp_path / 'whole', fragments))
    start = {k: v.clone() for k, v in runner.model.state_dict().items()}
    runner.train()
    # a step: every parameter has moved, to a number
    trained = runner.model.state_dict()
    still = [
        name
        for name, _ in runner.model.named_parameters()
        if torch.equal(start[name], trained[name]) or not trained[name].isfinite().all()
    ]
    assert not still
    # resuming: as if the run had never stopped
    cfg = small_config(voc, tmp_path / 'resumed', fragments)
    cfg.load_from, cfg.resume = str(tmp_path / 'whole' / 'epoch_1.pth'), True
    build_runner(cfg).train()
    whole, resumed = (read(tmp_path / name / 'epoch_2.pth') for name in ('whole', 'resumed'))
    assert resumed['message_hub'].keys() == whole['message_hub'].keys()
    for part in ('state_dict', 'ema_state_dict', 'optimizer'):
        assert (part in whole) == (part in resumed)
        assert_equal(whole.get(part), resumed.get(part), part)
    # conversion: a file for a config without any fragment, which predicts as this run does
    published = publish_checkpoint(tmp_path / 'whole' / 'epoch_2.pth', tmp_path / 'model.pth')
    plain = build_runner(small_config(voc, tmp_path / 'plain'))
    assert check_checkpoint_for_model(plain.model, str(published)).ok
    cfg = small_config(voc, tmp_path / 'test', fragments)
    cfg.load_from = str(tmp_path / 'whole' / 'epoch_2.pth')
    with_fragments = build_runner(cfg)
    plain._load_from = str(published)
    assert plain.test() == with_fragments.test()
    assert_equal(plain.model.state_dict(), with_fragments.model.state_dict(), 'weights')


def assert_equal(a, b, name):
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), name
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), name
        for key in a:
            assert_equal(a[key], b[key], f'{name}.{key}')
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), name
        for index, pair in enumerate(zip(a, b, strict=True)):
            assert_equal(*pair, f'{name}.{index}')
    else:
        assert a == b, name


@pytest.mark.slow
def test_average_is_what_is_validated_and_published(voc, tmp_path):
    cfg = small_config(voc, tmp_path, ['ema'])
    cfg.default_hooks.ema.update(momentum=0.25, gamma=1)
    build_runner(cfg).train()
    checkpoint = read(tmp_path / 'epoch_2.pth')
    key = 'backbone.conv1.conv.weight'
    average = read(publish_checkpoint(tmp_path / 'epoch_2.pth', tmp_path / 'average.pth'))
    last = read(publish_checkpoint(tmp_path / 'epoch_2.pth', tmp_path / 'last.pth', True))
    assert average['meta']['weights'] == 'average' and last['meta']['weights'] == 'last'
    assert torch.equal(average['state_dict'][key], checkpoint['state_dict'][key])
    assert torch.equal(last['state_dict'][key], checkpoint['ema_state_dict'][f'module.{key}'])
    assert not torch.equal(average['state_dict'][key], last['state_dict'][key])
    mean = 'backbone.conv1.bn.running_mean'
    assert not torch.equal(average['state_dict'][mean], last['state_dict'][mean])
    assert 'optimizer' not in average and 'message_hub' not in average


@pytest.mark.parametrize('dtype', ['amp_fp16', 'amp_bf16'])
def test_mixed_precision_computes_the_same_loss(dtype, voc, tmp_path, amp_on_cpu):
    losses = {}
    for name, fragments in dict(plain=[], mixed=[dtype]).items():
        runner = build_runner(small_config(voc, tmp_path / name, fragments))
        data = next(iter(Runner.build_dataloader(runner._train_dataloader, seed=0)))
        wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        torch.manual_seed(0)
        runner._init_model_weights()
        data = runner.model.data_preprocessor(data, True)
        with wrapper.optim_context(runner.model):
            dtypes = set()
            handle = runner.model.backbone.layer5[0].pw_expand.conv.register_forward_hook(
                lambda module, args, output, dtypes=dtypes: dtypes.add(output.dtype)
            )
            losses[name] = runner.model(**data, mode='loss')
            handle.remove()
        half = dict(amp_fp16=torch.float16, amp_bf16=torch.bfloat16)[dtype]
        assert dtypes == {torch.float32 if name == 'plain' else half}
    for key, loss in losses['plain'].items():
        mixed = losses['mixed'][key]
        assert mixed.dtype == torch.float32
        assert mixed.item() == pytest.approx(loss.item(), rel=0.05)


def test_accumulation_takes_the_mean_of_four_batches(voc, tmp_path):
    """Four batches with frozen norms move the weights as one batch of the mean loss does."""
    cfg = small_config(voc, tmp_path, ['accumulate_4'], epochs=1)
    cfg.optim_wrapper = dict(
        type='OptimWrapper', accumulative_counts=4, optimizer=dict(type='SGD', lr=0.1)
    )
    runner = build_runner(cfg)
    wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
    wrapper.initialize_count_status(runner.model, 0, 4)
    batches = list(Runner.build_dataloader(cfg.train_dataloader, seed=0))
    assert len(batches) == 4
    runner._init_model_weights()
    model = runner.model.eval()
    start = model.backbone.conv1.conv.weight.detach().clone()
    total = 0
    for data in batches:
        loss, _ = model.parse_losses(model(**model.data_preprocessor(data, True), mode='loss'))
        total = total + loss / 4
    (gradient,) = torch.autograd.grad(total, model.backbone.conv1.conv.weight)
    for data in batches:
        assert torch.equal(start, model.backbone.conv1.conv.weight)
        with wrapper.optim_context(model):
            inputs = model.data_preprocessor(data, True)
            loss, _ = model.parse_losses(model(**inputs, mode='loss'))
        wrapper.update_params(loss)
    moved = model.backbone.conv1.conv.weight.detach()
    torch.testing.assert_close(moved, start - 0.1 * gradient, rtol=1e-4, atol=1e-6)


def test_one_batch_norm_over_all_processes_has_the_same_keys(voc, tmp_path):
    """What mmengine makes of the model where there are several processes with GPUs."""
    from mmengine.model.utils import convert_sync_batchnorm

    cfg = small_config(voc, tmp_path, ['sync_bn'])
    assert cfg.sync_bn == 'torch'
    plain, synced = (build_runner(cfg).model for _ in range(2))
    synced = convert_sync_batchnorm(synced, cfg.sync_bn)
    norms = [m for m in synced.modules() if hasattr(m, 'running_mean')]
    assert norms and all(isinstance(m, torch.nn.SyncBatchNorm) for m in norms)
    assert plain.state_dict().keys() == synced.state_dict().keys()


def test_machine_without_gpus_refuses_before_any_work():
    sync = Config(dict(sync_bn='torch', launcher='pytorch'))
    amp = Config(dict(optim_wrapper=dict(type='AmpOptimWrapper', dtype='bfloat16')))
    if torch.cuda.is_available():
        pytest.skip('this machine has a GPU')
    for cfg, name in ((sync, "sync_bn='torch'"), (amp, 'mixed precision')):
        with pytest.raises(EnvironmentCheckError, match=name):
            check_environment(cfg)


def test_unknown_fragment_lists_the_known_ones():
    with pytest.raises(OptionError, match=f"'nothing'.*{', '.join(NAMES)}"):
        merge_fragments(Config(), ['nothing'], OPTIONS)


def test_fragments_that_contradict_each_other_are_named():
    with pytest.raises(OptionError, match=r'amp_fp16 and amp_bf16.*optim_wrapper\.dtype'):
        merge_fragments(Config(), ['ema', 'amp_fp16', 'amp_bf16'], OPTIONS)


@pytest.mark.parametrize(
    'other',
    [
        'optim_wrapper = dict(_delete_=True, optimizer=dict(type="Adam"))',
        'optim_wrapper = None',
        'optim_wrapper = dict(accumulative_counts=dict(a=1))',
    ],
)
def test_fragment_that_undoes_another_is_named(tmp_path, other):
    path = tmp_path / 'other.py'
    path.write_text(other)
    for names in (['accumulate_4', str(path)], [str(path), 'accumulate_4']):
        with pytest.raises(OptionError, match='do not go together'):
            merge_fragments(Config(dict(optim_wrapper=dict(type='OptimWrapper'))), names, OPTIONS)


def test_own_fragment_by_path(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text('optim_wrapper = dict(clip_grad=dict(max_norm=5))\n')
    cfg = Config(dict(optim_wrapper=dict(type='OptimWrapper')))
    merge_fragments(cfg, ['accumulate_4', str(path)], OPTIONS)
    assert cfg.optim_wrapper == dict(
        type='OptimWrapper', accumulative_counts=4, clip_grad=dict(max_norm=5)
    )
