# SPDX-License-Identifier: Apache-2.0
"""Folded norms give the same network."""

import copy

import pytest
import torch
from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from mmengine.config import Config
from torch import nn

import mmdet_mobilenext  # noqa: F401
from mmdet_mobilenext.engine.fold_norm_hook import FoldNormHook, fold_frozen_norms, folds_norms


def networks(configs, name='mobilenext'):
    """A backbone with statistics that are not trivial, and a copy with folding."""
    cfg = Config.fromfile(configs / f'ssdlite_{name}_voc.py').model.backbone
    torch.manual_seed(0)
    plain = MODELS.build(cfg).double()  # rounding must not hide an error
    for module in plain.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_()
    folded = copy.deepcopy(plain)
    assert fold_frozen_norms(folded) == sum(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    return plain, folded


def count_norms(network, x):
    """How often a batch norm is run."""
    calls = []
    handles = [
        m.register_forward_hook(lambda *a: calls.append(1))
        for m in network.modules()
        if isinstance(m, nn.BatchNorm2d)
    ]
    out = network(x)
    for handle in handles:
        handle.remove()
    return len(calls), out


def test_eval_mode_is_the_same_without_norms(configs):
    for name in ('mobilenext', 'mobilenetv2'):
        plain, folded = networks(configs, name)
        plain.eval(), folded.eval()
        x = torch.rand(1, 3, 64, 64).double()
        with torch.no_grad():
            (norms, expected), (none, found) = count_norms(plain, x), count_norms(folded, x)
        assert norms > 30 and none == 0
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
        assert plain.state_dict().keys() == folded.state_dict().keys()


def test_gradients_of_frozen_norms_are_the_same(configs):
    x = torch.rand(1, 3, 64, 64).double()
    grads = []
    for network in networks(configs):
        network.eval()
        sum(out.square().mean() for out in network(x)).backward()
        grads.append({name: p.grad for name, p in network.named_parameters()})
    for name, grad in grads[0].items():
        scale = grad.abs().max().item()
        torch.testing.assert_close(grads[1][name], grad, rtol=1e-6, atol=1e-6 * scale + 1e-15)


def test_norms_that_gather_statistics_still_do(configs):
    plain, folded = networks(configs)
    plain.train(), folded.train()
    x = torch.rand(2, 3, 64, 64).double()
    expected, found = plain(x), folded(x)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    for name, value in plain.state_dict().items():
        assert torch.equal(folded.state_dict()[name], value)


@pytest.mark.parametrize('conv', ['ConvWS', 'deconv', 'Conv2dAdaptivePadding'])
def test_other_convolutions_are_left_alone(conv):
    """mmcv's folding would bypass what these do."""
    options = dict(conv_cfg=dict(type=conv), norm_cfg=dict(type='BN'))
    plain = ConvModule(4, 6, 3, stride=2, **options).eval()
    plain.norm.running_mean.normal_()
    folded = copy.deepcopy(plain)
    assert fold_frozen_norms(folded) == 0
    x = torch.rand(1, 4, 17, 17)
    with torch.no_grad():
        assert torch.equal(folded(x), plain(x))


def test_which_configs_fold(configs):
    cfg = Config.fromfile(configs / 'ssdlite_mobilenext_voc.py')
    assert folds_norms(cfg)
    cfg.default_hooks.fold_norm = None
    assert not folds_norms(cfg)
    assert FoldNormHook().priority == 'HIGH'
