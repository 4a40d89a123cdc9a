# SPDX-License-Identifier: Apache-2.0
"""Variants of the sandglass block: special cases, choices, and use in the backbone."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from mmdet.models.backbones.resnext import Bottleneck
from mmdet.models.layers import InvertedResidual
from mmdet.registry import MODELS

from mmdet_mobilenext.models import MobileNeXt, SandglassBlock, SandglassVariantBlock
from mmdet_mobilenext.models.sandglass_variants import DEPTHWISE

CLASSICAL = dict(
    depthwise='bottleneck',
    stride_at='bottleneck',
    activations=('pw_reduce', 'dw_mid', 'sum'),
)
INVERTED = dict(depthwise='last', shortcut='bottleneck', activations=('pw_expand', 'dw_out'))
ALL_ACTIVE = ('pw_reduce', 'pw_expand', 'sum')


def randomise(module):
    """Weights and running statistics that no two layers share."""
    for tensor in [
        *module.parameters(),
        *(b for b in module.buffers() if b.dtype.is_floating_point),
    ]:
        tensor.data.uniform_(0.5, 1.5).mul_(0.3)


def carry_over(source, target):
    """Give ``target`` the weights of ``source``, layer by layer in the order they are built."""
    values = list(source.state_dict().values())
    keys = list(target.state_dict())
    assert [tuple(v.shape) for v in values] == [
        tuple(v.shape) for v in target.state_dict().values()
    ]
    target.load_state_dict(dict(zip(keys, values, strict=True)))


@pytest.mark.parametrize(
    ('args', 'kwargs'),
    [
        pytest.param((32, 96, 2, 2), {}, id='first'),
        pytest.param((288, 384, 1, 6), {}, id='widen'),
        pytest.param((144, 192, 2, 6), {}, id='downsample'),
        pytest.param((192, 192, 1, 6), {}, id='full'),
        pytest.param((192, 192, 1, 6), dict(identity_tensor_multiplier=1 / 3), id='a third'),
        pytest.param((96, 144, 1, 6), dict(keep_3x3=True), id='keep_3x3'),
        pytest.param((192, 192, 1, 6), dict(with_tail=False), id='without tail'),
    ],
)
def test_default_is_the_sandglass_block_bit_by_bit(args, kwargs):
    block, variant = SandglassBlock(*args, **kwargs), SandglassVariantBlock(*args, **kwargs)
    assert list(variant.state_dict()) == list(block.state_dict())
    variant.load_state_dict(block.state_dict())
    names = ('form', 'identity_channels', 'out_channels', 'expansion_channels', 'last_layer')
    assert [getattr(variant, n) for n in names] == [getattr(block, n) for n in names]
    results = []
    for net in (block, variant):
        x = torch.linspace(-2, 2, 2 * args[0] * 25).reshape(2, args[0], 5, 5).requires_grad_()
        taps = net.forward_taps(x)
        sum(t.square().sum() for t in taps).backward()
        results.append([*taps, x.grad, *(p.grad for p in net.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize(
    ('in_channels', 'out_channels', 'high', 'stride'), [(32, 32, 192, 1), (16, 32, 144, 2)]
)
def test_inverted_residual_equals_that_of_mmdet(in_channels, out_channels, high, stride):
    reference = InvertedResidual(
        in_channels, out_channels, high, stride=stride, act_cfg=dict(type='ReLU6')
    )
    randomise(reference)
    block = SandglassVariantBlock(in_channels, high, stride, **INVERTED)
    assert block.out_channels == out_channels
    carry_over(reference, block)
    results = []
    for net in (reference, block):
        x = torch.linspace(-2, 2, 2 * in_channels * 36).reshape(2, in_channels, 6, 6)
        x.requires_grad_()
        trained = net.train()(x)
        trained.square().mean().backward()
        results.append([trained, net.eval()(x), x.grad, *(p.grad for p in net.parameters())])
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected)


def test_classical_bottleneck_equals_resnext_of_mmdet_with_a_group_for_each_channel():
    reference = Bottleneck(96, 24, groups=24, base_width=1, base_channels=24)
    randomise(reference)
    block = SandglassVariantBlock(96, 96, 1, 4, act_cfg=dict(type='ReLU'), **CLASSICAL)
    assert block.layers == ('pw_reduce', 'dw_mid', 'pw_expand')
    # mmdet lists the three norms first
    convs, norms = ('conv1', 'conv2', 'conv3'), ('bn1', 'bn2', 'bn3')
    for name, conv, norm in zip(block.layers, convs, norms, strict=True):
        getattr(block, name).conv.load_state_dict(getattr(reference, conv).state_dict())
        getattr(block, name).bn.load_state_dict(getattr(reference, norm).state_dict())
    results = []
    for net in (reference, block):
        x = torch.linspace(-2, 2, 2 * 96 * 16).reshape(2, 96, 4, 4).requires_grad_()
        trained = net.train()(x)
        trained.square().mean().backward()
        results.append([trained, net.eval()(x), x.grad])
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected)


def test_classical_bottleneck_with_a_stride_equals_the_plain_formula():
    block = SandglassVariantBlock(48, 96, 2, **CLASSICAL)
    randomise(block)
    block.eval()
    x = torch.rand(1, 48, 6, 6)

    def norm(layer, out):
        bn = layer.bn
        return F.batch_norm(out, bn.running_mean, bn.running_var, bn.weight, bn.bias, eps=bn.eps)

    out = F.relu6(norm(block.pw_reduce, F.conv2d(x, block.pw_reduce.conv.weight)))
    weight = block.dw_mid.conv.weight
    out = F.conv2d(out, weight, stride=2, padding=1, groups=weight.shape[0])
    out = norm(
        block.pw_expand, F.conv2d(F.relu6(norm(block.dw_mid, out)), block.pw_expand.conv.weight)
    )
    torch.testing.assert_close(block(x), F.relu6(out))
    assert block.expansion_stride == 2


def test_shortcut_on_the_bottleneck_cuts_the_same_ring_elsewhere():
    """Without shortcuts the same layers make the same network, cut at either place."""
    high = [SandglassBlock(96, 96).eval() for _ in range(3)]
    low = [SandglassVariantBlock(16, 96, shortcut='bottleneck').eval() for _ in range(2)]
    assert all(block.identity_channels == 16 for block in low)
    for block in (*high, *low):
        randomise(block)
        block.identity_channels = 0
    for first, second, block in zip(high, high[1:], low, strict=False):
        for name, source in dict(
            pw_expand=first, dw_out=first, dw_in=second, pw_reduce=second
        ).items():
            getattr(block, name).load_state_dict(getattr(source, name).state_dict())
    x = torch.rand(1, 96, 4, 4)
    expected = torch.nn.Sequential(*high)(x)
    out = high[0].pw_reduce(high[0].dw_in(x))
    for block in low:
        assert block.layers == ('pw_expand', 'dw_out', 'dw_in', 'pw_reduce')
        out = block(out)
    out = high[2].dw_out(high[2].pw_expand(out))
    torch.testing.assert_close(out, expected)


@pytest.mark.parametrize(
    ('depthwise', 'full', 'downsample'),
    [
        (
            'both',
            ('dw_in', 'pw_reduce', 'pw_expand', 'dw_out'),
            ('pw_reduce', 'pw_expand', 'dw_out'),
        ),
        ('first', ('dw_in', 'pw_reduce', 'pw_expand'), ('pw_reduce', 'pw_expand', 'dw_out')),
        ('last', ('pw_reduce', 'pw_expand', 'dw_out'), ('pw_reduce', 'pw_expand', 'dw_out')),
        ('bottleneck', ('pw_reduce', 'dw_mid', 'pw_expand'), ('pw_reduce', 'pw_expand', 'dw_out')),
        ('none', ('pw_reduce', 'pw_expand'), ('pw_reduce', 'pw_expand', 'dw_out')),
    ],
)
def test_depthwise_convolutions_that_stay(depthwise, full, downsample):
    assert SandglassVariantBlock(96, 96, depthwise=depthwise).layers == full
    strided = SandglassVariantBlock(96, 144, 2, depthwise=depthwise)
    assert strided.layers == downsample
    assert strided.dw_out.conv.stride == (2, 2)


def plain_taps(block, x, activations):
    """Output and expansion tensor by the definition, with nothing in place."""
    out, expansion = x, None
    for name in block.layers:
        layer = getattr(block, name)
        out = layer.bn(layer.conv(out))
        out = F.relu6(out) if name in activations else out
        expansion = out if name == 'pw_expand' else expansion
    shared = block.identity_channels
    out = torch.cat([out[:, :shared] + x[:, :shared], out[:, shared:]], 1)
    return (F.relu6(out) if 'sum' in activations else out), expansion


@pytest.mark.parametrize('depthwise', DEPTHWISE)
@pytest.mark.parametrize('shortcut', ['high', 'bottleneck'])
@pytest.mark.parametrize('alpha', [1, 0.5])
@pytest.mark.parametrize('active', ['published', 'none', 'all'])
def test_variants_equal_their_layers_and_the_shortcut(depthwise, shortcut, alpha, active):
    """In inference, in training with gradients, and checkpointed."""
    channels = 96 if shortcut == 'high' else 16
    activations = dict(
        published=[
            n for n in ('dw_in', 'pw_expand') if n != 'dw_in' or depthwise in ('both', 'first')
        ],
        none=[],
        all=[*ALL_ACTIVE, *DEPTHWISE[depthwise]],
    )[active]
    options = dict(
        depthwise=depthwise,
        shortcut=shortcut,
        activations=None if active == 'published' else activations,
        identity_tensor_multiplier=alpha,
        act_cfg=dict(type='InplaceReLU6'),
    )
    block = SandglassVariantBlock(channels, 96, **options)
    saving = SandglassVariantBlock(channels, 96, with_cp=True, **options)
    saving.load_state_dict(block.state_dict())
    assert block.identity_channels == channels * alpha
    results = []
    for run in (
        lambda x: plain_taps(block, x, activations),
        block.forward_taps,
        saving.forward_taps,
    ):
        x = torch.linspace(-2, 2, 2 * channels * 16).reshape(2, channels, 4, 4).requires_grad_()
        taps = run(x)
        results.append([*taps, *torch.autograd.grad(sum(t.sin().sum() for t in taps), x)])
    for other in results[1:]:
        for expected, actual in zip(results[0], other, strict=True):
            torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
    block.eval()
    with torch.no_grad():
        for expected, actual in zip(
            plain_taps(block, x, activations), block.forward_taps(x), strict=True
        ):
            torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize('depthwise', DEPTHWISE)
def test_tracers_get_the_same_result(depthwise):
    block = SandglassVariantBlock(
        24, 24, depthwise=depthwise, identity_tensor_multiplier=0.5, activations=ALL_ACTIVE
    ).eval()
    x = torch.rand(1, 24, 4, 4)
    torch.testing.assert_close(torch.jit.trace(block, x)(x), block(x))
    torch.testing.assert_close(torch.export.export(block, (x,)).module()(x), block(x))


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(depthwise='middle'), r"depthwise must be one of \('both', .*received 'middle'"),
        (dict(shortcut='low'), r"shortcut must be one of \('high', 'bottleneck'\).*received 'low'"),
        (dict(stride_at='first'), "stride_at must be one of .*received 'first'"),
        (dict(stride_at='bottleneck'), "needs depthwise='bottleneck'.*received depthwise='both'"),
        (dict(activations=('dw_mid',)), r"activations must be of .*received \('dw_mid',\)"),
        (dict(activations='dw_in'), "received 'dw_in'"),
        (dict(depthwise='last', activations=('dw_in',)), r"with depthwise='last'"),
        (dict(stride=3), 'stride must be .*received 3'),
        (dict(identity_tensor_multiplier=0), 'identity_tensor_multiplier must be .*received 0'),
    ],
)
def test_bad_choices_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        SandglassVariantBlock(48, 48, **kwargs)


# In the backbone ---------------------------------------------------------------

BLOCKS = [
    pytest.param(dict(type='SandglassBlock'), id='sandglass'),
    *(
        pytest.param(
            dict(type='SandglassVariantBlock', depthwise=depthwise, shortcut=shortcut),
            id=f'{depthwise}-{shortcut}',
        )
        for depthwise, shortcut in itertools.product(DEPTHWISE, ('high', 'bottleneck'))
    ),
    pytest.param(dict(type='SandglassVariantBlock', **CLASSICAL), id='classical'),
    pytest.param(dict(type='SandglassVariantBlock', **INVERTED), id='inverted residual'),
]


@pytest.mark.parametrize('block_cfg', BLOCKS)
@pytest.mark.parametrize('taps', ['output', 'expansion'])
def test_backbone_of_any_block(block_cfg, taps):
    """Features are what feature_info tells, and every parameter gets a gradient."""
    net = MobileNeXt(0.35, out_indices=(2, 4, 7), taps=taps, block_cfg=block_cfg)
    seen = {}
    for info in net.feature_info:
        net.get_submodule(info['module']).register_forward_hook(
            lambda _module, _inputs, output, name=info['module']: seen.__setitem__(name, output)
        )
    features = net(torch.rand(2, 3, 64, 64))
    for feature, info in zip(features, net.feature_info, strict=True):
        assert feature.shape == (2, info['channels'], *(-(-64 // info['stride']),) * 2)
        assert torch.equal(seen[info['module']], feature)
    sum(f.square().mean() for f in features).backward()
    assert [n for n, p in net.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize('block_cfg', BLOCKS[:-2])
def test_expansion_taps_have_the_same_shape_whatever_the_block(block_cfg):
    net = MobileNeXt(0.35, out_indices=(3, 5, 7), taps='expansion', block_cfg=block_cfg)
    assert [(i['channels'], i['stride']) for i in net.feature_info] == [
        (104, 8),
        (200, 16),
        (1280, 32),
    ]


def test_norms_activations_and_frozen_stages_reach_the_variants():
    net = MobileNeXt(
        0.5,
        out_indices=(3,),
        norm_cfg=dict(type='GN', num_groups=4),
        act_cfg=dict(type='SiLU'),
        frozen_stages=2,
        block_cfg=dict(type='SandglassVariantBlock', **INVERTED),
    )
    kinds = {type(m) for m in net.modules()}
    assert {torch.nn.GroupNorm, torch.nn.SiLU} <= kinds
    assert not {torch.nn.BatchNorm2d, torch.nn.ReLU6} & kinds
    net(torch.rand(2, 3, 32, 32))[0].mean().backward()
    frozen = {n for n, p in net.named_parameters() if p.grad is None}
    assert {n.split('.')[0] for n in frozen} == {'conv1', 'layer1', 'layer2'}


def test_pretrained_weights_of_a_variant_match_key_by_key(tmp_path):
    block_cfg = dict(type='SandglassVariantBlock', depthwise='last')
    whole = MobileNeXt(0.35, out_indices=(7,), block_cfg=block_cfg)
    path = tmp_path / 'variant.pth'
    torch.save(dict(state_dict=whole.state_dict()), path)
    part = MobileNeXt(
        0.35,
        out_indices=(3,),
        taps='expansion',
        block_cfg=block_cfg,
        init_cfg=dict(type='Pretrained', checkpoint=str(path)),
    )
    part.init_weights()
    torch.testing.assert_close(part.conv1.conv.weight, whole.conv1.conv.weight)


@pytest.mark.parametrize(
    ('block_cfg', 'message'),
    [
        (dict(type='InvertedResidual'), 'block_cfg must have the type .*InvertedResidual'),
        (dict(type='SSDLiteNeck'), 'block_cfg must have the type .*SSDLiteNeck'),
        (dict(depthwise='last'), "block_cfg must have the type .*'depthwise': 'last'"),
        (dict(type='SandglassBlock', stride=2), 'block_cfg must not hold stride'),
    ],
)
def test_bad_block_configs_are_named(block_cfg, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(type='MobileNeXt', block_cfg=block_cfg))
