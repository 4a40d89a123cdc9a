# SPDX-License-Identifier: Apache-2.0
import weakref

import pytest
import torch
import torch.nn as nn
from golden import assert_matches, load, make_input, make_state_dict
from mmdet.registry import MODELS
from torch.nn.modules.batchnorm import _BatchNorm

from mmdet_mobilenext.checkpoints.convert import convert_state_dict
from mmdet_mobilenext.checkpoints.strict import CheckpointKeyError
from mmdet_mobilenext.engine.complexity import count_madds, count_parameters
from mmdet_mobilenext.models import MobileNeXt

WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.4)


class Classifier(nn.Module):
    """The authors' classifier: backbone, average pooling and a linear layer."""

    def __init__(self, widen_factor, num_classes=1000):
        super().__init__()
        self.backbone = MobileNeXt(widen_factor=widen_factor, out_indices=(7,))
        self.fc = nn.Linear(self.backbone.stage_channels[-1], num_classes)

    def forward(self, x):
        return self.fc(self.backbone(x)[0].mean((2, 3)))


def authors_shapes(widen_factor):
    """Key shapes of a classifier of any width, in the authors' names."""
    from mmdet_mobilenext.checkpoints.key_map import mobilenext_map

    net = Classifier(widen_factor)
    inverse = {v: k for k, v in mobilenext_map(net.backbone, '', 'backbone.').items()}
    inverse['fc'] = 'classifier.1'
    shapes = {}
    for key, value in net.state_dict().items():
        module, _, name = key.rpartition('.')
        shapes[f'{inverse[module]}.{name}'] = list(value.shape)
    return shapes


@pytest.mark.parametrize('widen_factor', WIDTHS)
def test_parity_with_the_authors_classifier(widen_factor):
    record = load('models')[f'imagenet_mobilenext_{widen_factor}']
    net = Classifier(widen_factor).eval()
    weights, info = convert_state_dict(
        make_state_dict(authors_shapes(widen_factor)), 'mobilenext-imagenet'
    )
    assert info['widen_factor'] == widen_factor
    net.load_state_dict({k.replace('head.fc.', 'fc.'): v for k, v in weights.items()})
    with torch.no_grad():
        assert_matches(net(make_input(224)), record['logits'])
    assert count_parameters(net) == record['params']
    assert count_madds(net, (224, 224)) == record['macs']


def test_classifier_keys_are_the_authors():
    assert authors_shapes(1.0) == load('models')['imagenet_mobilenext_1.0']['state_dict']


def test_output_shapes_and_feature_info():
    net = MobileNeXt(out_indices=range(8)).eval()
    features = net(torch.rand(1, 3, 224, 224))
    channels = [96, 144, 192, 288, 384, 576, 960, 1280]
    sizes = [56, 56, 28, 14, 14, 7, 7, 7]
    assert [f.shape for f in features] == [
        (1, c, s, s) for c, s in zip(channels, sizes, strict=False)
    ]
    assert [i['stride'] for i in net.feature_info] == [4, 4, 8, 16, 16, 32, 32, 32]
    assert [i['channels'] for i in net.feature_info] == channels


def test_ssdlite_taps():
    net = MobileNeXt(out_indices=(5, 7, 7), taps=('expansion', 'expansion', 'output')).eval()
    info = net.feature_info
    features = net(torch.rand(1, 3, 320, 320))
    assert [tuple(f.shape[1:]) for f in features] == [
        (576, 20, 20),
        (1280, 10, 10),
        (1280, 10, 10),
    ]
    assert [(i['channels'], i['stride']) for i in info] == [(576, 16), (1280, 32), (1280, 32)]


@pytest.mark.parametrize('tap', ['output', 'expansion'])
def test_feature_info_names_the_module_that_makes_the_tensor(tap):
    net = MobileNeXt(0.35, out_indices=range(8), taps=tap).eval()
    seen = {}
    for info in net.feature_info:
        name = info['module']
        net.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: seen.__setitem__(name, output)
        )
    features = net(torch.rand(1, 3, 64, 64))
    for feature, info in zip(features, net.feature_info, strict=True):
        assert seen[info['module']] is feature


@pytest.mark.parametrize('size', [(320, 320), (300, 500), (33, 47)])
def test_any_input_size(size):
    net = MobileNeXt(widen_factor=0.35, out_indices=(2, 4, 7)).eval()
    for feature, info in zip(net(torch.rand(1, 3, *size)), net.feature_info, strict=False):
        assert feature.shape[2:] == tuple(-(-s // info['stride']) for s in size)


@pytest.mark.parametrize(
    ('out_indices', 'normalised'), [((-1,), (7,)), ((2, -4, -1), (2, 4, 7)), ((-8,), (0,))]
)
def test_negative_out_indices(out_indices, normalised):
    assert MobileNeXt(0.1, out_indices=out_indices).out_indices == normalised


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(out_indices=(8,)), r'out_indices must be in \[-8, 7\], but received \(8,\)'),
        (dict(out_indices=(-9,)), r'received \(-9,\)'),
        (dict(out_indices=()), 'non-empty'),
        (dict(out_indices=5), 'sequence of int'),
        (dict(out_indices=(7, 2)), 'ascend'),
        (dict(out_indices=(2, 2)), 'twice'),
        (dict(taps='neck'), "received 'neck'"),
        (dict(out_indices=(2, 4), taps=('output',)), 'one for each of the 2'),
        (dict(frozen_stages=9), r'frozen_stages must be in \[-1, 8\], but received 9'),
        (dict(frozen_stages=-2), 'received -2'),
        (dict(frozen_stages=1.0), 'received 1.0'),
        (dict(widen_factor=0.05), 'widen_factor must be .*received 0.05'),
        (dict(widen_factor=2.5), 'received 2.5'),
        (dict(identity_tensor_multiplier=-1), 'received -1'),
    ],
)
def test_bad_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        MobileNeXt(**kwargs)


@pytest.mark.parametrize(
    ('out_indices', 'taps'),
    [
        ((5, 7, 7), ('expansion', 'expansion', 'output')),
        ((5, 7), 'expansion'),
        ((5,), 'expansion'),
        ((6,), 'expansion'),
        ((2, 4, 7), 'output'),
        ((0,), 'expansion'),
        ((1, 5), ('output', 'expansion')),
    ],
)
def test_every_parameter_gets_a_gradient(out_indices, taps):
    net = MobileNeXt(0.35, out_indices=out_indices, taps=taps)
    sum(f.square().mean() for f in net(torch.rand(2, 3, 64, 64))).backward()
    without = [n for n, p in net.named_parameters() if p.grad is None]
    assert without == []


@pytest.mark.parametrize('widen_factor', [0.1, 0.35, 0.5, 1.0, 1.5, 2.0])
def test_widths(widen_factor):
    net = MobileNeXt(widen_factor, out_indices=(0, 7)).eval()
    features = net(torch.rand(1, 3, 32, 32))
    assert all(
        f.shape[1] == i['channels'] for f, i in zip(features, net.feature_info, strict=False)
    )
    if widen_factor < 1:
        assert features[-1].shape[1] == 1280
    assert features[0].shape[1] % (4 if widen_factor == 0.1 else 8) == 0


@pytest.mark.parametrize('alpha', [1, 1 / 2, 1 / 3, 1 / 6])
def test_identity_tensor_multiplier_costs_no_parameter(alpha):
    net = MobileNeXt(0.35, identity_tensor_multiplier=alpha)
    assert count_parameters(net) == count_parameters(MobileNeXt(0.35))
    sum(f.sum() for f in net(torch.rand(2, 3, 64, 64))).backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize('frozen_stages', [-1, 0, 1, 4, 8])
def test_frozen_stages(frozen_stages):
    net = MobileNeXt(0.35, frozen_stages=frozen_stages)
    names = ['conv1', *net.layers]
    for mode in (None, True):
        if mode is not None:
            net.train(mode)
        for index, name in enumerate(names):
            frozen = index <= frozen_stages
            assert all(p.requires_grad != frozen for p in getattr(net, name).parameters())
            if mode:
                norms = [m for m in getattr(net, name).modules() if isinstance(m, _BatchNorm)]
                assert all(m.training != frozen for m in norms)


def test_norm_eval():
    net = MobileNeXt(0.35, norm_eval=True).train()
    norms = [m for m in net.modules() if isinstance(m, _BatchNorm)]
    assert norms and not any(m.training for m in norms)
    assert all(p.requires_grad for p in net.parameters())
    net = MobileNeXt(0.35, norm_eval=False).train()
    assert all(m.training for m in net.modules() if isinstance(m, _BatchNorm))


@pytest.mark.parametrize(
    ('norm_cfg', 'act_cfg', 'norm_type'),
    [
        (dict(type='GN', num_groups=4), dict(type='ReLU6'), nn.GroupNorm),
        (dict(type='SyncBN'), dict(type='ReLU6'), nn.SyncBatchNorm),
        (dict(type='BN'), dict(type='HSwish'), nn.BatchNorm2d),
        (dict(type='BN'), dict(type='SiLU'), nn.BatchNorm2d),
    ],
)
def test_other_norms_and_activations(norm_cfg, act_cfg, norm_type):
    net = MobileNeXt(0.5, norm_cfg=norm_cfg, act_cfg=act_cfg).eval()
    assert any(isinstance(m, norm_type) for m in net.modules())
    outs = net(torch.rand(1, 3, 64, 64))
    sum(o.sum() for o in outs).backward()
    assert all(torch.isfinite(o).all() for o in outs)


def test_checkpointing_keeps_the_gradients():
    kwargs = dict(widen_factor=0.35, out_indices=(5, 7), taps='expansion')
    plain, saving = MobileNeXt(**kwargs), MobileNeXt(with_cp=True, **kwargs)
    saving.load_state_dict(plain.state_dict())
    x = torch.rand(2, 3, 64, 64)
    grads = []
    for net in (plain, saving):
        sum(f.sum() for f in net(x)).backward()
        grads.append([p.grad for p in net.parameters()])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_init_is_the_published_one():
    net = MODELS.build(dict(type='MobileNeXt'))
    net.init_weights()
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 5000:
            kh, kw = module.kernel_size
            expected = (2 / (kh * kw * module.out_channels)) ** 0.5
            assert module.weight.std().item() == pytest.approx(expected, rel=0.1)
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all() and (module.bias == 0).all()


@pytest.fixture
def classifier_file(tmp_path):
    """A checkpoint with a whole backbone of width 0.35."""
    net = MobileNeXt(0.35, out_indices=(7,))
    nn.init.constant_(net.conv1.conv.weight, 0.25)
    state = {f'backbone.{k}': v for k, v in net.state_dict().items()}
    state['head.fc.weight'] = torch.zeros(10, 1280)
    path = tmp_path / 'classifier.pth'
    torch.save(dict(state_dict=state), path)
    return path


def pretrained(path, **kwargs):
    init_cfg = dict(type='Pretrained', checkpoint=str(path), prefix='backbone.')
    return MobileNeXt(0.35, init_cfg=init_cfg, **kwargs)


def test_pretrained(classifier_file):
    net = pretrained(classifier_file, out_indices=(2, 4, 7))
    net.init_weights()
    assert (net.conv1.conv.weight == 0.25).all()


def test_pretrained_may_hold_stages_that_are_not_built(classifier_file):
    net = pretrained(classifier_file, out_indices=(5,), taps='expansion')
    net.init_weights()
    assert (net.conv1.conv.weight == 0.25).all()


@pytest.mark.parametrize('change', ['drop', 'rename', 'add', 'reshape'])
def test_pretrained_that_does_not_match_is_an_error(classifier_file, change):
    checkpoint = torch.load(classifier_file)
    state, key = checkpoint['state_dict'], 'backbone.layer3.1.pw_reduce.conv.weight'
    value = state[key]
    if change != 'add':
        del state[key]
    if change == 'rename':
        state[key.replace('pw_reduce', 'pw_shrink')] = value
    elif change == 'add':
        state['backbone.layer9.0.pw_reduce.conv.weight'] = value
    elif change == 'reshape':
        state[key] = value.transpose(0, 1)
    torch.save(checkpoint, classifier_file)
    named = 'layer9' if change == 'add' else r'layer3\.1\.pw_reduce\.conv\.weight'
    with pytest.raises(CheckpointKeyError, match=named):
        pretrained(classifier_file, out_indices=(7,)).init_weights()


def test_inference_holds_on_to_nothing_but_what_is_read():
    net = MobileNeXt(widen_factor=0.35, out_indices=(2, 4), taps=('expansion', 'output')).eval()
    alive, left = {}, []

    def remember(name):
        return lambda module, inputs, output: alive.update({name: weakref.ref(output)})

    names = ['layer1.0.dw_in', 'layer1.0.pw_expand', 'layer2.0.pw_expand', 'layer3.0.pw_expand']
    for name in names:
        net.get_submodule(name).register_forward_hook(remember(name))
    for module in (net.layer1[0].dw_out, net.layer5[0]):
        module.register_forward_pre_hook(
            lambda module, inputs: left.append([n for n, ref in alive.items() if ref() is not None])
        )
    with torch.no_grad():
        net(torch.rand(1, 3, 64, 64))
    assert left == [['layer1.0.pw_expand'], ['layer3.0.pw_expand']]
