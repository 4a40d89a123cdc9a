# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from mmdet_mobilenext.models.sandglass import (
    SandglassBlock,
    add_partial_identity,
    sandglass_hidden_channels,
)


@pytest.mark.parametrize(
    ('args', 'form', 'layers', 'identity'),
    [
        pytest.param((32, 96, 2, 2), 'first', ['dw_in', 'dw_out'], 0, id='first'),
        pytest.param((288, 384, 1, 6), 'widen', [], 0, id='widen'),
        pytest.param((144, 192, 2, 6), 'downsample', ['dw_out'], 0, id='downsample'),
        pytest.param((192, 192, 1, 6), 'full', ['dw_in', 'dw_out'], 192, id='full'),
    ],
)
def test_forms(args, form, layers, identity):
    block = SandglassBlock(*args)
    assert block.form == form
    assert block.identity_channels == identity
    assert [n for n in ('dw_in', 'dw_out') if hasattr(block, n)] == layers
    out = block(torch.rand(2, args[0], 9, 7))
    stride = args[2]
    assert out.shape == (2, args[1], -(-9 // stride), -(-7 // stride))


def test_keep_3x3_is_full_without_shortcut():
    block = SandglassBlock(96, 144, keep_3x3=True)
    assert block.form == 'full'
    assert block.identity_channels == 0
    assert block.pw_reduce.out_channels == 32


@pytest.mark.parametrize(
    ('channels', 'hidden'), [((32, 96, 2), 16), ((96, 144, 6), 32), ((960, 1280, 6), 224 - 16)]
)
def test_hidden_channels(channels, hidden):
    # Of the golden key shapes.
    assert sandglass_hidden_channels(*channels) == hidden


@pytest.mark.parametrize(
    ('kwargs', 'received'),
    [
        (dict(stride=3), '3'),
        (dict(reduction_ratio=0), '0'),
        (dict(identity_tensor_multiplier=0), '0'),
        (dict(identity_tensor_multiplier=1.5), '1.5'),
    ],
)
def test_bad_arguments_are_named(kwargs, received):
    (name,) = kwargs
    with pytest.raises(ValueError, match=f'{name} must be .*received {received}'):
        SandglassBlock(48, 48, **kwargs)


@pytest.mark.parametrize(('alpha', 'channels'), [(1, 576), (0.5, 288), (1 / 3, 192), (1 / 6, 96)])
def test_identity_channels_are_exact_fractions(alpha, channels):
    assert SandglassBlock(576, 576, identity_tensor_multiplier=alpha).identity_channels == channels


@pytest.mark.parametrize('alpha', [1, 0.5, 1 / 6])
def test_partial_identity_equals_the_plain_formula(alpha):
    block = SandglassBlock(48, 48, identity_tensor_multiplier=alpha).eval()
    x = torch.rand(1, 48, 5, 5)
    plain = block.dw_out(block.pw_expand(block.pw_reduce(block.dw_in(x))))
    plain[:, : block.identity_channels] += x[:, : block.identity_channels]
    torch.testing.assert_close(block(x), plain)


def test_partial_identity_writes_in_place_and_leaves_the_rest_alone():
    out, identity = torch.rand(2, 6, 3, 3), torch.rand(2, 6, 3, 3)
    rest = out[:, 4:].clone()
    result = add_partial_identity(out, identity, 4)
    assert result.data_ptr() == out.data_ptr()
    assert torch.equal(result[:, 4:], rest)


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_partial_identity_gradient(channels):
    x = torch.rand(1, 4, 2, 2, dtype=torch.double, requires_grad=True)
    # The result of a layer, as in the block: a leaf may not be written to.
    assert torch.autograd.gradcheck(lambda t: add_partial_identity(t * 2, t.sin(), channels), x)


@pytest.mark.parametrize(
    'norm_cfg',
    [
        pytest.param(dict(type='BN'), id='BN'),
        pytest.param(dict(type='SyncBN'), id='SyncBN'),
        pytest.param(dict(type='GN', num_groups=4), id='GN'),
        pytest.param(dict(type='IN', affine=True), id='IN'),
        pytest.param(None, id='none'),
    ],
)
def test_backward_through_any_norm(norm_cfg):
    block = SandglassBlock(48, 48, identity_tensor_multiplier=0.5, norm_cfg=norm_cfg)
    if norm_cfg == dict(type='SyncBN'):
        block.eval()  # SyncBN trains on GPUs only
    x = torch.rand(2, 48, 6, 6, requires_grad=True)
    block(x).sum().backward()
    assert x.grad is not None
    assert all(p.grad is not None for p in block.parameters())


def test_checkpointing_keeps_the_gradients():
    torch.manual_seed(1)
    plain = SandglassBlock(24, 24, identity_tensor_multiplier=0.5)
    saving = SandglassBlock(24, 24, identity_tensor_multiplier=0.5, with_cp=True)
    saving.load_state_dict(plain.state_dict())
    grads = []
    for block in (plain, saving):
        x = torch.linspace(-1, 1, 2 * 24 * 16).reshape(2, 24, 4, 4).requires_grad_()
        block(x).square().sum().backward()
        grads.append([x.grad, *(p.grad for p in block.parameters())])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)


def test_tracers_see_no_in_place_slice():
    block = SandglassBlock(24, 24, identity_tensor_multiplier=0.5).eval()
    x = torch.rand(1, 24, 4, 4)
    traced = torch.jit.trace(block, x)
    assert 'aten::cat' in str(traced.inlined_graph)
    assert 'aten::add_' not in str(traced.inlined_graph)
    torch.testing.assert_close(traced(x), block(x))
    exported = torch.export.export(block, (x,)).module()
    torch.testing.assert_close(exported(x), block(x))


def test_taps_are_before_and_after_the_last_depthwise():
    block = SandglassBlock(144, 192, stride=2).eval()
    output, expansion = block.forward_taps(torch.rand(1, 144, 8, 8))
    assert expansion.shape == (1, 192, 8, 8)
    torch.testing.assert_close(output, block.dw_out(expansion))


def test_without_tail_the_block_ends_at_its_expansion():
    block = SandglassBlock(48, 48, with_tail=False)
    assert not hasattr(block, 'dw_out')
    output, expansion = block.forward_taps(torch.rand(2, 48, 4, 4))
    assert output is expansion


def test_shortcut_allows_backward_hooks_and_a_pruned_last_layer():
    torch.manual_seed(0)
    block = SandglassBlock(48, 48)
    seen = []
    block.dw_out.register_full_backward_hook(lambda *args: seen.append(args[2][0].shape))
    block(torch.rand(2, 48, 4, 4, requires_grad=True)).sum().backward()
    assert seen == [(2, 48, 4, 4)]

    block.dw_out = torch.nn.Identity()
    x = torch.rand(2, 48, 4, 4)
    out, expansion = block.eval().forward_taps(x)
    torch.testing.assert_close(out, expansion + x)
