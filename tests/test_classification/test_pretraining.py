# SPDX-License-Identifier: Apache-2.0
"""Training a classifier, and a detector from its checkpoint."""

import json
import shutil
import signal
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS as CLASSIFIERS
from small_imagenet import make_small_imagenet, small_config
from small_voc import ROOT, run_tool
from torchvision_stub import environment_with_stub

from mmdet_mobilenext.checkpoints.strict import CheckpointKeyError, check_pretrained_init
from mmdet_mobilenext.engine.config import load_config
from mmdet_mobilenext.engine.test import test as run_test
from mmdet_mobilenext.engine.train import train

NEXT, V2 = 'mobilenext_0.35_in1k.py', 'mobilenetv2_0.35_in1k.py'
EPOCHS = 8


@pytest.fixture(autouse=True, scope='module')
def _one_thread():
    """Sums in one order: the same weights in this process and in another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    return make_small_imagenet(tmp_path_factory.mktemp('imagenet'))


def dump(cfg, path):
    """A config as a file, which the tools and a resumed run can read."""
    cfg.dump(path)
    return str(path)


def scalars(work_dir):
    """What was logged: training steps and validations, in order."""
    lines = []
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        lines += [json.loads(line) for line in path.read_text().splitlines()]
    return lines


def newest(work_dir):
    return (Path(work_dir) / 'last_checkpoint').read_text().strip()


@pytest.fixture(scope='module')
def trained(images, tmp_path_factory):
    """A run of each backbone with the pipelines of the configs: file and work dir."""
    runs = {}
    for name in (NEXT, V2):
        work_dir = tmp_path_factory.mktemp('trained')
        path = dump(small_config(name, images, EPOCHS, interval=EPOCHS), work_dir / 'small.py')
        train(load_config(path, work_dir=str(work_dir)))
        runs[name] = (path, work_dir)
    return runs


@pytest.mark.slow
@pytest.mark.parametrize('name', [NEXT, V2])
def test_learns(trained, name):
    path, work_dir = trained[name]
    losses = [line['loss'] for line in scalars(work_dir) if 'loss' in line]
    assert len(losses) == 3 * EPOCHS
    assert sum(losses[-6:]) < 0.8 * sum(losses[:6])
    metrics = run_test(load_config(path, work_dir=str(work_dir)), newest(work_dir))
    assert metrics['accuracy/top1'] > 60  # chance is 33


def detector_cfg(name, checkpoint, **backbone):
    """The published detector with the backbone of a classifier."""
    kind = name.split('_')[0]
    cfg = Config.fromfile(ROOT / 'configs' / f'ssdlite_{kind}_voc.py').model
    init_cfg = dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')
    cfg.backbone.update({'widen_factor': 0.35, 'init_cfg': init_cfg, **backbone})
    return cfg


@pytest.mark.slow
@pytest.mark.parametrize('name', [NEXT, V2])
def test_checkpoint_initialises_the_detector(trained, name):
    path, work_dir = trained[name]
    checkpoint = newest(work_dir)
    compare_detector_and_classifier(Config.fromfile(path).model, name, checkpoint)


def compare_detector_and_classifier(model_cfg, name, checkpoint, **backbone):
    detector = MODELS.build(detector_cfg(name, checkpoint, **backbone))
    [report] = check_pretrained_init(detector).values()
    assert report.ok and report.matched == len(detector.backbone.state_dict())
    detector.init_weights()
    init_default_scope('mmpretrain')
    classifier = CLASSIFIERS.build(model_cfg)
    weights = torch.load(checkpoint, weights_only=False)['state_dict']
    classifier.load_state_dict(weights, strict=True)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        (expected,) = classifier.eval().extract_feat(x, stage='backbone')
        actual = detector.eval().backbone(x)[-1]
    assert expected.std() > 0.01
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(('width', 'multiplier'), [(0.5, 1 / 3), (0.1, 0.5)])
def test_other_widths_and_identity_multipliers(images, tmp_path, width, multiplier):
    cfg = small_config(NEXT, images, EPOCHS, interval=EPOCHS).model
    cfg.backbone.update(widen_factor=width, identity_tensor_multiplier=multiplier)
    init_default_scope('mmpretrain')
    classifier = CLASSIFIERS.build(cfg)
    classifier.init_weights()
    with torch.no_grad():
        for _ in range(6):  # statistics of the norms
            classifier.train()(torch.randn(8, 3, 64, 64))
    checkpoint = str(tmp_path / 'classifier.pth')
    torch.save(dict(state_dict=classifier.state_dict()), checkpoint)
    init_default_scope('mmdet')
    options = dict(identity_tensor_multiplier=multiplier)
    with pytest.raises(CheckpointKeyError, match='layer'):
        check_pretrained_init(MODELS.build(detector_cfg(NEXT, checkpoint, **options)))
    options['widen_factor'] = width
    compare_detector_and_classifier(cfg, NEXT, checkpoint, **options)
    # No key tells the multiplier: it must be given, and matters.
    init_default_scope('mmdet')
    options['identity_tensor_multiplier'] = 1.0
    with pytest.raises(AssertionError, match='not close'):
        compare_detector_and_classifier(cfg, NEXT, checkpoint, **options)


KILLER = """
import os
import signal

from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class KillHook(Hook):
    def after_train_iter(self, runner, **kwargs):
        if runner.iter == 7:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_killed_run_goes_on_as_if_nothing_had_happened(images, tmp_path, monkeypatch):
    cfg = small_config(NEXT, images, epochs=4, interval=2, random=False)
    path = dump(cfg, tmp_path / 'small.py')
    whole = train(load_config(path, work_dir=str(tmp_path / 'whole')))
    init_default_scope('mmdet')

    (tmp_path / 'kill_hook.py').write_text(KILLER)
    cfg.custom_imports.imports += ['kill_hook']
    cfg.custom_hooks = [dict(type='mmengine.KillHook')]
    killed = dump(cfg, tmp_path / 'killed.py')
    for key, value in environment_with_stub({'PYTHONPATH': str(tmp_path)}).items():
        monkeypatch.setenv(key, value)
    work_dir = tmp_path / 'interrupted'
    done = run_tool('train.py', killed, '--work-dir', work_dir, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
    assert 'train 36 images' in done.stdout + done.stderr
    assert Path(newest(work_dir)).name == 'epoch_2.pth'

    # the folder has been moved since
    shutil.move(work_dir, tmp_path / 'moved')
    resumed = train(load_config(path, work_dir=str(tmp_path / 'moved')), resume='auto')
    assert resumed.iter == whole.iter == 12
    expected = whole.model.state_dict()
    for key, value in resumed.model.state_dict().items():
        torch.testing.assert_close(value, expected[key], rtol=0, atol=0, msg=key)
