# SPDX-License-Identifier: Apache-2.0
"""ReLU6 in place equals PyTorch's, and keeps less."""

import copy

import pytest
import torch
from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from mmengine.config import Config
from torch import nn

from mmdet_mobilenext.models import InplaceReLU6


def values():
    """The borders, values next to them, and all around."""
    x = torch.linspace(-9, 15, 1000)
    return torch.cat([x, torch.tensor([0.0, -0.0, 6.0, 5.9999995, 6.0000005, 1e-30])])


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_those_of_pytorch(memory_format):
    x = values()[:1000].reshape(2, 5, 10, 10).contiguous(memory_format=memory_format)
    results = []
    for act in (InplaceReLU6(), nn.ReLU6(inplace=True), nn.ReLU6()):
        leaf = x.clone().requires_grad_()
        out = act(leaf * 1)
        (out * torch.arange(10.0)).sum().backward()
        results.append((out.detach(), leaf.grad))
    for out, grad in results[1:]:
        assert torch.equal(out, results[0][0]) and torch.equal(grad, results[0][1])


def test_slope_at_the_borders():
    leaf = values().requires_grad_()
    InplaceReLU6()(leaf * 1).sum().backward()
    expected = ((values() > 0) & (values() < 6)).float()
    assert torch.equal(leaf.grad, expected)


def test_it_is_in_place_and_keeps_only_its_result():
    kept = []

    def keep(tensor):
        kept.append(tensor.data_ptr())
        return tensor

    x = torch.rand(4, 4, requires_grad=True) * 1
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        out = InplaceReLU6()(x)
    assert out.data_ptr() == x.data_ptr()
    assert kept == [out.data_ptr()]


def test_without_gradients_and_not_in_place_it_is_pytorchs():
    x = values()
    with torch.no_grad():
        assert InplaceReLU6()(x) is x and torch.equal(x, values().clamp(0, 6))
    x = values().requires_grad_()
    out = InplaceReLU6(inplace=False)(x)
    assert out.grad_fn.name() == 'HardtanhBackward0' and torch.equal(x.detach(), values())


def test_a_leaf_is_refused_as_by_pytorch():
    with pytest.raises(RuntimeError, match='leaf Variable'):
        InplaceReLU6()(torch.rand(3, requires_grad=True))


def test_conv_module_and_tracing():
    module = ConvModule(2, 3, 3, norm_cfg=dict(type='BN'), act_cfg=dict(type='InplaceReLU6'))
    assert isinstance(module.activate, InplaceReLU6) and module.activate.inplace
    module.eval()
    x = torch.randn(1, 2, 5, 5)
    traced = torch.jit.trace(module, x)
    assert torch.equal(traced(x), module(x))
    exported = torch.export.export(module, (x,)).module()
    assert torch.equal(exported(x), module(x))


@pytest.mark.parametrize('name', ['mobilenext', 'mobilenetv2'])
def test_detectors_are_the_same_with_it(configs, name):
    """Loss and all gradients of the published detectors."""
    from test_models.test_ssdlite import samples

    import mmdet_mobilenext  # noqa: F401

    cfg = Config.fromfile(configs / f'ssdlite_{name}_voc.py').model
    plain = copy.deepcopy(cfg)
    for part in (plain.backbone, plain.neck, plain.bbox_head):
        assert part.act_cfg.type == 'InplaceReLU6'
        part.act_cfg.type = 'ReLU6'
    torch.manual_seed(0)
    one, other = MODELS.build(cfg), MODELS.build(plain)
    other.load_state_dict(one.state_dict())
    inputs, data_samples = torch.rand(2, 3, 320, 320), samples([(320, 320)] * 2)
    found = []
    for detector in (one, other):
        detector.train()
        losses = detector.loss(inputs, copy.deepcopy(data_samples))
        sum(losses.values()).backward()
        found.append(
            [losses['loss_cls'], losses['loss_bbox'], *(p.grad for p in detector.parameters())]
        )
    assert len(found[0]) > 100
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)
