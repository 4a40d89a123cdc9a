# SPDX-License-Identifier: Apache-2.0
"""Operations, relaxed and found cells, and what lies between them: decoding and the JSON file."""

import json
import re

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import init_default_scope
from small_voc import ROOT
from test_models.test_ssdlite import samples

from mmdet_mobilenext.engine.complexity import count_madds, count_parameters
from mmdet_mobilenext.models import SandglassBlock
from mmdet_mobilenext.search import RelaxedCells, SearchedCells
from mmdet_mobilenext.search.drawing import draw_genotype
from mmdet_mobilenext.search.genotype import (
    GenotypeError,
    decode_cell,
    num_edges,
    random_genotype,
    read_genotype,
    write_genotype,
)
from mmdet_mobilenext.search.operations import (
    DARTS_OPERATIONS,
    OPERATIONS,
    FactorizedReduce,
    build_operation,
)
from mmdet_mobilenext.search.relaxed_cells import MixedOperation

GUIDE = (ROOT / 'docs' / 'search.md').read_text(encoding='utf-8')
SMALL = dict(base_channels=12, num_cells=3, stem_stride=2)


@pytest.mark.parametrize('name', OPERATIONS)
@pytest.mark.parametrize('stride', [1, 2])
def test_operations_keep_channels_and_leave_their_input_alone(name, stride):
    operation = build_operation(name, 12, stride, norm_pools=True)
    x = torch.randn(2, 12, 7, 7)
    before = x.clone()
    assert operation(x).shape == (2, 12, 7 // stride + stride - 1, 7 // stride + stride - 1)
    assert x.equal(before)


def test_the_space_is_that_of_darts_and_the_sandglass_block():
    assert len(DARTS_OPERATIONS) == 8
    assert set(OPERATIONS) - set(DARTS_OPERATIONS) == {'sandglass_3x3'}
    block = build_operation('sandglass_3x3', 48)
    assert type(block) is SandglassBlock and block.form == 'full'
    assert block.pw_reduce.out_channels == 8 and block.identity_channels == 48


@pytest.mark.parametrize(
    ('name', 'parameters'),
    # 3 x 3 and 5 x 5 depthwise and a pointwise convolution, once or twice; no bias, no scale
    [
        ('sep_conv_3x3', 2 * (9 * 12 + 144)),
        ('sep_conv_5x5', 2 * (25 * 12 + 144)),
        ('dil_conv_3x3', 9 * 12 + 144),
        ('dil_conv_5x5', 25 * 12 + 144),
        ('sandglass_3x3', 2 * 9 * 12 + 2 * 24),
        ('max_pool_3x3', 0),
        ('skip_connect', 0),
    ],
)
def test_sizes_of_operations(name, parameters):
    operation = build_operation(name, 12, norm_cfg=dict(type='BN', affine=False))
    assert count_parameters(operation) == parameters


def test_halving_reads_every_pixel():
    """Each pixel of an even and of an odd image, but at the corners between the two grids."""
    for size in (6, 7):
        x = torch.ones(1, 3, size, size, requires_grad=True)
        layer = FactorizedReduce(3, 4).eval()
        torch.nn.init.constant_(layer.even.conv.weight, 1.0)
        torch.nn.init.constant_(layer.odd.conv.weight, 1.0)
        layer(x).sum().backward()
        read = x.grad[0, 0] != 0
        rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing='ij')
        assert read.equal((rows % 2 == 0) == (columns % 2 == 0))


def test_mixed_operation_is_the_weighted_sum():
    names = list(OPERATIONS)
    mixed = MixedOperation(names, 12, stride=2).eval()
    x, weights = torch.randn(2, 12, 8, 8), torch.rand(len(names))
    expected = sum(w * op(x) for w, op in zip(weights, mixed.operations, strict=True))
    torch.testing.assert_close(mixed(x, weights), expected)


def test_relaxed_network_with_one_operation_left_is_the_found_one():
    """With all weight on one operation an edge, relaxed cells compute what the found ones do."""
    torch.manual_seed(1)
    operations = ('none', 'skip_connect', 'avg_pool_3x3', 'sandglass_3x3')
    relaxed = RelaxedCells(operations, num_nodes=1, norm_cfg=dict(type='BN'), **SMALL).eval()
    for alpha in relaxed.alphas.values():
        choice = torch.tensor([3, 1])  # the two edges of the only node
        alpha.data = torch.nn.functional.one_hot(choice, 4) * 200.0
    genotype = relaxed.genotype()
    assert genotype.normal == ((('sandglass_3x3', 0), ('skip_connect', 1)),)
    found = SearchedCells(genotype, **SMALL).eval()
    weights = {}
    for key in found.state_dict():
        source = key.replace('.nodes.0.0.', '.edges.0.operations.3.').replace(
            '.nodes.0.1.', '.edges.1.operations.1.'
        )
        weights[key] = relaxed.state_dict()[source]
    found.load_state_dict(weights)
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(found(x), relaxed(x))


def test_gradients_reach_every_weight_and_every_alpha():
    net = RelaxedCells(num_nodes=2, **SMALL)
    net(torch.randn(4, 3, 16, 16))[0].square().mean().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []
    rng = np.random.default_rng(0)
    for _ in range(3):
        found = SearchedCells(random_genotype(rng, 3, DARTS_OPERATIONS), **SMALL)
        found(torch.randn(4, 3, 32, 32))[0].square().mean().backward()
        assert [name for name, p in found.named_parameters() if p.grad is None] == []


def test_decoding_on_hand_made_weights():
    operations = ['none', 'skip_connect', 'sandglass_3x3', 'max_pool_3x3']
    weights = np.array(
        [
            [0.9, 0.02, 0.05, 0.03],  # 'none' is strongest, and counts for nothing
            [0.1, 0.2, 0.3, 0.4],
            # the second node: its states 0 and 2 are stronger than 1, which has the largest none
            [0.3, 0.5, 0.1, 0.1],
            [0.8, 0.1, 0.06, 0.04],
            [0.0, 0.1, 0.7, 0.2],
        ]
    )
    assert decode_cell(weights, operations) == (
        (('sandglass_3x3', 0), ('max_pool_3x3', 1)),
        (('skip_connect', 0), ('sandglass_3x3', 2)),
    )
    # all alike: the first two states, the first operation
    equal = decode_cell(np.full((2, 4), 0.25), operations)
    assert equal == ((('skip_connect', 0), ('skip_connect', 1)),)
    with pytest.raises(ValueError, match='no cell has 4 edges'):
        decode_cell(weights[:4], operations)
    with pytest.raises(ValueError, match=r'\(edges, 3 operations\).*\(5, 4\)'):
        decode_cell(weights, operations[1:])


def test_random_genotypes_are_drawn_from_the_whole_space():
    rng = np.random.default_rng(0)
    drawn = [random_genotype(rng, 2, DARTS_OPERATIONS) for _ in range(300)]
    names = {name for g in drawn for node in g.normal + g.reduce for name, _ in node}
    assert names == set(DARTS_OPERATIONS) - {'none'}
    pairs = [tuple(state for _, state in g.normal[1]) for g in drawn]
    assert all(70 < pairs.count(pair) < 130 for pair in [(0, 1), (0, 2), (1, 2)])
    again = np.random.default_rng(0)
    assert drawn[:20] == [random_genotype(again, 2, DARTS_OPERATIONS) for _ in range(20)]


def test_json_round_trip(tmp_path):
    genotype = random_genotype(np.random.default_rng(3), 4, list(OPERATIONS))
    path = tmp_path / 'sub' / 'genotype.json'
    write_genotype(genotype, path, seed=3, operations=list(OPERATIONS))
    assert read_genotype(path) == genotype
    assert json.loads(path.read_text())['origin']['seed'] == 3
    assert [p.name for p in path.parent.iterdir()] == ['genotype.json']
    assert SearchedCells(str(path), num_cells=3).genotype == genotype


def test_a_drawing_names_every_operation(tmp_path):
    genotype = random_genotype(np.random.default_rng(3), 4, list(OPERATIONS))
    draw_genotype(genotype, tmp_path / 'cells.svg')
    drawn = (tmp_path / 'cells.svg').read_text()
    for name in set(OPERATIONS) - {'none'}:
        assert drawn.count(f'<!-- {name} -->') == genotype.count(name)
    with pytest.raises(ValueError, match=r'one of .*, not cells\.txt'):
        draw_genotype(genotype, 'cells.txt')


NODE = [['skip_connect', 0], ['skip_connect', 1]]


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{"normal": [', 'g.json is no JSON'),
        ('[]', r"needs the cells \['normal', 'reduce'\], but has list"),
        (dict(normal=[NODE]), r"needs the cells .*, but has \['normal'\]"),
        (dict(normal=[NODE], reduce=[]), 'the reduce cell must be a list of nodes'),
        (dict(normal=[NODE], reduce=[NODE, NODE]), 'the same number of nodes'),
        (dict(normal=[NODE], reduce=[NODE], format=2), 'is of format 2'),
        (dict(normal=[[['conv', 0], NODE[1]]], reduce=[NODE]), "node 2 of the normal.*'conv'"),
        (dict(normal=[[['none', 0], NODE[1]]], reduce=[NODE]), "has the operation 'none'"),
        (dict(normal=[[NODE[0], ['skip_connect', 2]]], reduce=[NODE]), 'reads the state 2'),
        (dict(normal=[[NODE[0], ['skip_connect', True]]], reduce=[NODE]), 'the state True'),
        (dict(normal=[[NODE[0], NODE[0]]], reduce=[NODE]), r'reads the states \[0, 0\]'),
        (dict(normal=[[NODE[0]]], reduce=[NODE]), 'must read 2 different ones'),
        (dict(normal=[3], reduce=[NODE]), 'must be a list of pairs'),
        (dict(normal=[[[['x'], 0], NODE[0]]], reduce=[NODE]), 'has the operation'),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path, content, message):
    path = tmp_path / 'g.json'
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(GenotypeError, match=message) as error:
        read_genotype(path)
    assert str(path) in str(error.value)


def test_no_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no genotype 'nowhere\.json'"):
        SearchedCells('nowhere.json')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(operations=['none', 'conv']), "no operation 'conv'"),
        (dict(operations=['none']), "need one beside 'none'"),
        (dict(operations=['skip_connect'] * 2), 'must not come twice'),
        (dict(num_nodes=0), 'num_nodes must be at least 1, but received 0'),
        (dict(num_cells=2), 'num_cells must be at least 3, but received 2'),
        (dict(stem_stride=3), 'stem_stride must be one of .*, but received 3'),
        (dict(out_indices=(2, 1)), r'out_indices .* received \(2, 1\)'),
        (dict(frozen_stages=4), 'frozen_stages must be -1 to 3, but received 4'),
        (dict(out_indices=(0,)), r'out_indices=\(0,\) ends before the first reduction'),
        (dict(base_channels=16), 'sandglass_3x3 on 16 channels is no bottleneck, .* up to 16'),
    ],
)
def test_arguments_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        RelaxedCells(**options)


@pytest.mark.parametrize(('cells', 'stem_stride'), [(3, 1), (5, 4), (8, 8)])
def test_feature_info(cells, stem_stride):
    genotype = random_genotype(np.random.default_rng(cells), 2, list(OPERATIONS))
    net = SearchedCells(
        genotype, base_channels=12, num_cells=cells, stem_stride=stem_stride, out_indices=(0, 1, 2)
    ).eval()
    kept = {}
    for info in net.feature_info:
        net.get_submodule(info['module']).register_forward_hook(
            lambda module, inputs, output, name=info['module']: kept.update({name: output})
        )
    with torch.no_grad():
        features = net(torch.randn(1, 3, 96, 64))
    for feature, info in zip(features, net.feature_info, strict=True):
        size = (96 // info['stride'], 64 // info['stride'])
        assert feature.shape[1:] == (info['channels'], *size)
        assert kept[info['module']] is feature
    kinds = [cell.kind for cell in RelaxedCells(num_nodes=1, num_cells=cells).cells]
    assert kinds.count('reduce') == 2


def test_nothing_behind_the_last_stage_is_built():
    genotype = random_genotype(np.random.default_rng(0), 2, list(OPERATIONS))
    assert len(SearchedCells(genotype, num_cells=6, out_indices=(1,)).cells) == 4


def test_frozen_stages_and_norm_eval():
    genotype = random_genotype(np.random.default_rng(1), 2, list(OPERATIONS))
    net = SearchedCells(genotype, num_cells=3, frozen_stages=1, norm_eval=True).train()
    assert not any(p.requires_grad for p in [*net.stem.parameters(), *net.cells[0].parameters()])
    assert all(p.requires_grad for p in net.cells[1].parameters())
    assert not net.cells[0].training and net.cells[1].training
    assert not any(m.training for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d))


def operation_madds(net, cost, size):
    """Expected cost of the found cells by the table of the relaxed network."""
    costs, genotype = net.operation_costs(cost, size), net.genotype()
    total = 0
    for cell in ('normal', 'reduce'):
        start = 0
        for number, node in enumerate(getattr(genotype, cell), 2):
            total += sum(
                costs[cell][start + state][net.operations.index(name)] for name, state in node
            )
            start += number
    return float(total)


@pytest.mark.parametrize('cost', ['madds', 'parameters'])
def test_costs_are_those_of_the_found_network(cost):
    """The table adds up to what is counted, apart from stem and first layers of the cells."""
    options = dict(base_channels=12, num_cells=5, stem_stride=2)
    net = RelaxedCells(num_nodes=2, **options)
    count = dict(madds=lambda n: count_madds(n, (32, 32)), parameters=count_parameters)[cost]
    differences = set()
    for _ in range(4):
        for alpha in net.alphas.values():
            torch.nn.init.normal_(alpha)
        found = SearchedCells(net.genotype(), norm_cfg=dict(type='BN', affine=False), **options)
        differences.add(count(found) - operation_madds(net, cost, 32))
    assert len(differences) == 1 and differences.pop() > 0
    assert num_edges(2) == 5


@pytest.mark.parametrize('kind', ['ssdlite', 'fpn'])
def test_a_detector_takes_a_step(kind):
    """Found cells are a backbone like any other: SSDLite of this project, and FPN of mmdet."""
    init_default_scope('mmdet')
    genotype = random_genotype(np.random.default_rng(2), 2, list(OPERATIONS))
    backbone = dict(
        type='SearchedCells',
        genotype=genotype.to_dict(),
        base_channels=12,
        num_cells=3,
        stem_stride=8,
        out_indices=(0, 1, 2),
    )
    cfg = Config.fromfile(ROOT / 'configs' / 'ssdlite_mobilenext_demo.py').model
    channels = [24, 48, 96]
    if kind == 'ssdlite':
        cfg.neck.update(in_channels=channels, out_channels=(*channels, 64))
        cfg.bbox_head.in_channels = (*channels, 64)
    else:
        cfg.neck = dict(type='FPN', in_channels=channels, out_channels=16, num_outs=3)
        anchors = dict(type='AnchorGenerator', ratios=[1.0], strides=[8, 16, 32], scales=[4])
        coder = dict(type='DeltaXYWHBBoxCoder')
        cfg.bbox_head = dict(
            type='RetinaHead',
            num_classes=20,
            in_channels=16,
            feat_channels=16,
            stacked_convs=1,
            anchor_generator=anchors,
            bbox_coder=coder,
        )
        assigner = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0)
        cfg.train_cfg = dict(assigner=assigner, allowed_border=-1, pos_weight=-1)
    cfg.backbone = backbone
    size = 128
    detector = MODELS.build(cfg).train()
    losses = detector.loss(torch.rand(2, 3, size, size), samples([(size, size)] * 2))
    loss, _ = detector.parse_losses(losses)
    loss.backward()
    assert torch.isfinite(loss)
    assert [n for n, p in detector.backbone.named_parameters() if p.grad is None] == []
    optimizer = torch.optim.SGD(detector.parameters(), 0.01)
    before = detector.backbone.stem[0].conv.weight.clone()
    optimizer.step()
    assert not detector.backbone.stem[0].conv.weight.equal(before)


def test_the_detector_of_the_guide(tmp_path, monkeypatch):
    """The code of docs/search.md on a detector of mmdet."""
    (code,) = re.findall(r'```python\n(.*?)```', GUIDE, re.S)
    names = {}
    exec(code, names)
    base = re.search(r'mmdet::\S+\.py', code).group()
    cfg = Config._merge_a_into_b(names['model'], get_config(base).model)
    monkeypatch.chdir(tmp_path)
    genotype = random_genotype(np.random.default_rng(0), 2, list(OPERATIONS))
    write_genotype(genotype, cfg.backbone.genotype)
    init_default_scope('mmdet')
    detector = MODELS.build(cfg).eval()
    info = detector.backbone.feature_info
    assert [one['channels'] for one in info] == cfg.neck.in_channels
    assert [one['stride'] for one in info] == [8, 16, 32]
    with torch.no_grad():
        features = detector.extract_feat(torch.rand(1, 3, 128, 128))
    assert [64 * 2 // f.shape[-1] for f in features] == cfg.bbox_head.anchor_generator.strides
