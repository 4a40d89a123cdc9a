# SPDX-License-Identifier: Apache-2.0
"""The classifiers of configs/imagenet: networks, recipe, registration, messages."""

import importlib
import math
import subprocess
import sys

import pytest
import torch
from golden import assert_matches, load, make_input, make_state_dict
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from small_voc import ROOT, environment
from torchvision_stub import SITE

from mmdet_mobilenext.checkpoints.convert import convert_state_dict
from mmdet_mobilenext.classification import DropoutLinearClsHead, ImageNetFolder
from mmdet_mobilenext.datasets.checks import DataCheckError
from mmdet_mobilenext.engine.complexity import count_madds, count_parameters
from mmdet_mobilenext.engine.config import load_config
from mmdet_mobilenext.engine.environment import EnvironmentCheckError
from mmdet_mobilenext.models import MobileNeXt

CONFIGS = ROOT / 'configs' / 'imagenet'
NAMES = sorted(path.name for path in CONFIGS.glob('*.py'))
WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.4)


def build(name):
    init_default_scope('mmpretrain')
    return MODELS.build(Config.fromfile(CONFIGS / name).model)


@pytest.mark.parametrize('width', WIDTHS)
def test_published_sizes(width):
    record = load('models')[f'imagenet_mobilenext_{width}']
    net = build(f'mobilenext_{width}_in1k.py')
    assert type(net.backbone) is MobileNeXt
    assert count_parameters(net) == record['params']
    assert count_madds(net, (224, 224)) == record['macs']


def test_sizes_of_mobilenetv2():
    """Its paper, table 4 (https://arxiv.org/abs/1801.04381): 300 M and, at 1.4, 585 M."""
    sizes = {}
    for width in WIDTHS:
        net = build(f'mobilenetv2_{width}_in1k.py')
        sizes[width] = (count_parameters(net), round(count_madds(net, (224, 224)) / 1e6))
    assert sizes[1.0] == (3504872, 301)  # torchvision's has 3,504,872 as well
    assert [madds for _, madds in sizes.values()] == [59, 97, 209, 301, 582]


def test_converted_imagenet_weights_fill_the_classifier():
    """Keys and results are those of the authors' classifier."""
    shapes = load('models')['imagenet_mobilenext_1.0']['state_dict']
    weights, _ = convert_state_dict(make_state_dict(shapes), 'mobilenext-imagenet')
    net = build('mobilenext_1.0_in1k.py').eval()
    net.load_state_dict(weights, strict=True)
    record = load('models')['imagenet_mobilenext_1.0']
    with torch.no_grad():
        assert_matches(net(make_input(224)), record['logits'])


def test_identity_multipliers():
    for parts in (1, 2, 3, 6):
        name = (
            f'mobilenext_1.0_identity1-{parts}_in1k.py' if parts > 1 else 'mobilenext_1.0_in1k.py'
        )
        backbone = build(name).backbone
        assert backbone.layer5[1].identity_channels == 384 // parts


def test_published_initialization():
    net = build('mobilenext_1.0_in1k.py')
    net.init_weights()
    for conv in (net.backbone.layer6[1].pw_expand.conv, net.backbone.layer7[1].dw_out.conv):
        std = math.sqrt(2 / (conv.kernel_size[0] ** 2 * conv.out_channels))
        assert conv.weight.std().item() == pytest.approx(std, rel=0.05)
    assert net.head.fc.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not net.head.fc.bias.any()


def test_dropout_is_before_the_linear_layer():
    head = DropoutLinearClsHead(num_classes=2, in_channels=1000)
    feature = torch.ones(1, 1000)
    kept = head.pre_logits((feature,)).count_nonzero().item()
    assert 740 < kept < 860
    assert head.eval().pre_logits((feature,)).equal(feature)
    with pytest.raises(ValueError, match=r'dropout must be in \[0, 1\), but received 1'):
        DropoutLinearClsHead(num_classes=2, in_channels=4, dropout=1)


@pytest.mark.parametrize('name', NAMES)
def test_all_configs_have_the_published_recipe(name):
    cfg = Config.fromfile(CONFIGS / name)
    assert cfg.train_cfg.max_epochs == 200 and cfg.train_dataloader.batch_size == 64
    sgd = cfg.optim_wrapper.optimizer
    assert (sgd.type, sgd.lr, sgd.momentum, sgd.weight_decay) == ('SGD', 0.05, 0.9, 4e-5)
    cosine = cfg.param_scheduler[-1]
    assert (cosine.type, cosine.begin, cosine.end) == ('CosineAnnealingLR', 3, 200)
    assert cosine.T_max == cosine.end - cosine.begin
    hooks = {hook.type.removeprefix('mmdet.') for hook in cfg.default_hooks.values()}
    assert {
        'AtomicCheckpointHook', 'StrictLoadHook', 'RunHeaderHook', 'NonFiniteLossHook',
        'MemoryFormatHook', 'FoldNormHook', 'KeepMemoryHook',
    } <= hooks  # fmt: skip


@pytest.mark.parametrize('name', NAMES)
def test_all_configs_train_and_predict(name):
    net = build(name).train()
    images = torch.rand(2, 3, 64, 64)
    samples = [DataSample().set_gt_label(label) for label in (0, 999)]
    losses = net(images, samples, mode='loss')
    losses['loss'].backward()
    assert losses['loss'].isfinite()
    assert [n for n, p in net.named_parameters() if p.grad is None] == []
    with torch.no_grad():
        found = net.eval()(images, samples, mode='predict')
    assert [sample.pred_score.shape for sample in found] == [(1000,)] * 2


def test_data_root(monkeypatch):
    path = str(CONFIGS / 'mobilenetv2_1.0_in1k.py')
    monkeypatch.setenv('IMAGENET_ROOT', 'elsewhere')
    for cfg, root in (
        (load_config(path), 'elsewhere'),
        (load_config(path, {'data_root': 'x'}), 'x'),
    ):
        loaders = (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader)
        assert {loader.dataset.data_root for loader in loaders} == {root}


def test_missing_folders_are_named(tmp_path):
    (tmp_path / 'train').mkdir()
    with pytest.raises(FileNotFoundError, match=r"no folder '.*/val'.* IMAGENET_ROOT"):
        ImageNetFolder(str(tmp_path), 'train', needed_splits=('val',))
    (tmp_path / 'train' / 'n1').mkdir()
    with pytest.raises(DataCheckError, match=r'train has 1 folders, but there are 1000 classes'):
        ImageNetFolder(str(tmp_path), 'train')


def test_without_mmpretrain_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmpretrain', None)
    monkeypatch.delitem(sys.modules, 'mmdet_mobilenext.classification')
    with pytest.raises(EnvironmentCheckError, match='install the extra `imagenet`'):
        importlib.import_module('mmdet_mobilenext.classification')


@pytest.mark.slow
def test_nothing_else_needs_mmpretrain():
    """Nor torchvision, whose stub refuses to be used."""
    code = (
        'import sys\n'
        'sys.modules["mmpretrain"] = None\n'
        f'sys.path.insert(0, {str(SITE)!r})\n'
        'import mmdet_mobilenext\n'
        'assert "mmdet_mobilenext.classification" not in sys.modules\n'
        'from torchvision.ops import boxes\n'
        'try:\n'
        '    boxes.nms()\n'
        'except RuntimeError as error:\n'
        '    print(error)\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], env=environment(), capture_output=True, text=True
    )
    assert 'torchvision.ops.boxes.nms of it was called' in done.stdout, done.stderr
