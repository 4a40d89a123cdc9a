# SPDX-License-Identifier: Apache-2.0
"""Weights to start from that may be missing: they arrive, or the run tells loudly of it."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.registry import HOOKS
from mmengine.runner import BaseLoop, Runner
from small_voc import ROOT, make_small_voc
from test_benchmark.small_benchmark import write_pair

from mmdet_mobilenext.benchmark.errors import MixedRunsError
from mmdet_mobilenext.benchmark.folder import prepare_folder
from mmdet_mobilenext.benchmark.one_run import run
from mmdet_mobilenext.benchmark.plan import make_plan
from mmdet_mobilenext.checkpoints.strict import CheckpointKeyError
from mmdet_mobilenext.engine.config import load_config
from mmdet_mobilenext.engine.initial_weights import InitialWeightsHook, settle_weights
from mmdet_mobilenext.engine.test import test as run_test
from mmdet_mobilenext.engine.train import train
from mmdet_mobilenext.models import MobileNeXt

DEMO = str(ROOT / 'configs' / 'ssdlite_mobilenext_demo.py')
LOUD = 'THIS RUN STARTS FROM SCRATCH'
LOUD_AGAIN = 'THIS RUN STARTED FROM SCRATCH'


@HOOKS.register_module()
class NoteStart(Hook):
    """Keep the backbone that the training starts with."""

    start: dict

    def before_train(self, runner):
        backbone = runner.model.backbone.state_dict()
        NoteStart.start = {key: value.clone() for key, value in backbone.items()}


@pytest.fixture(scope='module')
def voc(tmp_path_factory):
    return make_small_voc(tmp_path_factory.mktemp('voc') / 'VOCdevkit', train=2, val=2, test=2)


@pytest.fixture
def path(tmp_path):
    """Where weights are looked for."""
    return tmp_path / 'weights' / 'mobilenext_1.0_in1k.pth'


@pytest.fixture
def weights(path):
    """Weights of the small backbone, in their place."""
    path.parent.mkdir()
    backbone = MobileNeXt(widen_factor=0.35, out_indices=(7,)).state_dict()
    state = {f'backbone.{key}': value for key, value in backbone.items()}
    torch.save(dict(state_dict=state | {'head.fc.bias': torch.zeros(3)}), path)
    return backbone


@pytest.fixture
def config(voc, path, tmp_path):
    """One iteration of the demo config, with weights that may be missing."""

    def make(name='run', checkpoint=path, **more):
        options = {
            'data_root': str(voc),
            'model.backbone.widen_factor': 0.35,
            'model.backbone.frozen_stages': -1,
            'model.backbone.init_cfg': dict(
                type='Pretrained', checkpoint=str(checkpoint), prefix='backbone.'
            ),
            'optional_weights': [str(path)],
            'model.neck.in_channels': (104, 200, 336),
            'model.neck.out_channels': (104, 200, 336, 256),
            'model.bbox_head.in_channels': (104, 200, 336, 256),
            'train_dataloader.batch_size': 2,
            'train_dataloader.num_workers': 0,
            'train_dataloader.persistent_workers': False,
            'val_dataloader.num_workers': 0,
            'val_dataloader.persistent_workers': False,
            'test_dataloader.num_workers': 0,
            'test_dataloader.persistent_workers': False,
            'train_cfg.max_epochs': 1,
            'train_cfg.val_interval': 9,
            'default_hooks.checkpoint.save_best': None,
            'experiment_name': f'{tmp_path.name}-{name}',
            'custom_hooks': [dict(type='NoteStart')],
            **more,
        }
        return load_config(DEMO, options, str(tmp_path / name))

    return make


def log_of(tmp_path, name='run'):
    return '\n'.join(p.read_text() for p in sorted((tmp_path / name).glob('*/*.log')))


def test_weights_that_are_there_arrive(config, weights, tmp_path):
    Runner.from_cfg(config()).train()  # as MMDetection's tools do
    kept = {key: value for key, value in weights.items() if key in NoteStart.start}
    assert kept.keys() == NoteStart.start.keys()
    assert [k for k, v in kept.items() if not torch.equal(v, NoteStart.start[k])] == []
    log = log_of(tmp_path)
    assert 'FROM SCRATCH' not in log
    assert '| backbone from mobilenext_1.0_in1k.pth (sha256 ' in log


def test_weights_that_are_missing_are_said_loudly(config, path, tmp_path):
    Runner.from_cfg(config()).train()
    log = log_of(tmp_path)
    assert log.count(LOUD) == log.count(LOUD_AGAIN) == 1
    assert log.index(LOUD) < log.index('Epoch(train)') < log.index(LOUD_AGAIN)
    for part in (str(path), '72.6', f'fetch mobilenext_1.0_in1k --dest {path.parent}'):
        assert part in log
    assert '| from scratch' in log
    # and it is the start, bit for bit, that a config without init_cfg has
    missing = NoteStart.start
    Runner.from_cfg(config('plain', **{'model.backbone.init_cfg': None})).train()
    assert [k for k, v in missing.items() if not torch.equal(v, NoteStart.start[k])] == []
    log = log_of(tmp_path, 'plain')
    assert 'FROM SCRATCH' not in log and '| from scratch' in log


@pytest.mark.slow
def test_resume_load_from_and_test_need_no_weights(config, path, tmp_path, weights):
    train(config())
    path.write_bytes(b'broken')  # what resumes does not read it
    resumed = train(config(**{'train_cfg.max_epochs': 2}), resume='auto')
    assert resumed.iter == 2
    checkpoint = tmp_path / 'run' / 'epoch_2.pth'
    path.unlink()
    run_test(config('test'), str(checkpoint))
    loaded = train(config('loaded', load_from=str(checkpoint)))
    assert loaded.iter == 1
    saved = torch.load(checkpoint, weights_only=False)['state_dict']
    key = 'conv1.conv.weight'
    assert torch.equal(NoteStart.start[key], saved[f'backbone.{key}'])
    for name in ('run', 'test', 'loaded'):
        assert 'FROM SCRATCH' not in log_of(tmp_path, name)
    assert '| from epoch_2.pth (sha256 ' in log_of(tmp_path, 'loaded')


def test_other_files_that_are_missing_are_errors(config, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'mine\.pth'):
        train(config(checkpoint=tmp_path / 'mine.pth'))


def test_weights_of_another_network_are_errors(config, weights):
    with pytest.raises(CheckpointKeyError, match='another shape'):
        train(config(**{'model.backbone.widen_factor': 0.5}))


class Loop(BaseLoop):
    def run(self):
        """Never called."""


@pytest.mark.parametrize('backbone', ['mobilenext', 'mobilenetv2'])
@pytest.mark.parametrize('variant', ['voc', '4xb24_voc', 'voc07'])
def test_main_configs(configs, backbone, variant, monkeypatch, tmp_path):
    monkeypatch.setenv('WEIGHTS_ROOT', str(tmp_path))
    cfg = Config.fromfile(configs / f'ssdlite_{backbone}_{variant}.py')
    path = tmp_path / f'{backbone}_1.0_in1k.pth'
    init = dict(type='Pretrained', checkpoint=str(path), prefix='backbone.')
    assert cfg.model.backbone.init_cfg == init
    assert cfg.default_hooks.initial_weights == dict(type='InitialWeightsHook')

    model = MODELS.build(cfg.model)
    logger = MMLogger.get_instance('main')
    runner = SimpleNamespace(
        cfg=cfg, model=model, logger=logger, work_dir=str(tmp_path), _resume=False, _load_from=None
    )
    hook = InitialWeightsHook()
    runner._train_loop = {}  # not built: this runner does not train
    hook.before_run(runner)
    assert model.backbone.init_cfg == init and not hook.missing
    runner._train_loop = object.__new__(Loop)
    path.touch()
    hook.before_run(runner)
    assert model.backbone.init_cfg == init and not hook.missing
    path.unlink()
    hook.before_run(runner)
    assert hook.missing == [str(path)]
    plain = MODELS.build({**cfg.model.backbone, 'init_cfg': None})
    assert model.backbone.init_cfg == plain.init_cfg != init

    assert settle_weights(cfg) == [str(path)]
    assert 'init_cfg' not in cfg.model.backbone and 'optional_weights' not in cfg


class TestComparison:
    @pytest.fixture
    def pair(self, voc, path, tmp_path):
        more = (
            f'optional_weights = [{str(path)!r}]\nmodel = dict(backbone=dict(init_cfg=dict('
            f"type='Pretrained', checkpoint={str(path)!r}, prefix='backbone.')))"
        )
        return list(map(str, write_pair(tmp_path / 'configs', voc, more)))

    def test_all_runs_of_a_comparison_start_alike(self, pair, path, tmp_path, capsys):
        folder = tmp_path / 'scratch'
        plan = make_plan(pair, folder)
        assert 'small_mobilenext.py STARTS FROM SCRATCH' in capsys.readouterr().out
        runs = prepare_folder(plan)
        assert 'Pretrained' not in runs[1].config.read_text()
        (runs[0].path / 'last_checkpoint').write_text('has begun')
        path.parent.mkdir()
        path.write_bytes(b'1')
        # the weights are there now: other runs
        plan = make_plan(pair, folder)
        assert 'SCRATCH' not in capsys.readouterr().out
        with pytest.raises(MixedRunsError, match=r'init_cfg\.checkpoint: \(absent\) -> '):
            prepare_folder(plan)

        plan = replace(plan, folder=tmp_path / 'pretrained')
        runs = prepare_folder(plan)
        path.write_bytes(b'2')
        with pytest.raises(MixedRunsError, match=rf'seed 0 is not .*weights: {path}: '):
            run(runs[1].path)
        (runs[0].path / 'last_checkpoint').write_text('has begun')
        with pytest.raises(MixedRunsError, match=rf'weights: {path}: '):
            prepare_folder(plan)

    def test_given_checkpoints_need_none(self, pair, tmp_path, capsys):
        checkpoints = []
        for number, config in enumerate(pair):
            model = MODELS.build(Config.fromfile(config).model)
            checkpoints.append(str(tmp_path / f'{number}.pth'))
            torch.save(dict(state_dict=model.state_dict()), checkpoints[-1])
        plan = make_plan(pair, tmp_path / 'given', checkpoints=checkpoints)
        assert 'init_cfg' not in plan.models[0].cfg.model.backbone
        assert 'SCRATCH' not in capsys.readouterr().out
