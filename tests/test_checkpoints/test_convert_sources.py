# SPDX-License-Identifier: Apache-2.0
"""Other projects' weights: they give the same numbers here, and start our detectors."""

import pickle
import runpy
import sys
from functools import cache, partial

import numpy as np
import pytest
import torch
from foreign_networks import mobilenetv2, paddle_mobilenext
from mmdet.models.backbones import MobileNetV2
from mmdet.registry import MODELS
from mmengine.config import Config
from torchvision_stub import import_mmpretrain

from mmdet_mobilenext.checkpoints.convert import SOURCES, convert_checkpoint, convert_state_dict
from mmdet_mobilenext.checkpoints.safe_loading import UnsafeCheckpointError
from mmdet_mobilenext.checkpoints.strict import CheckpointKeyError, check_pretrained_init
from mmdet_mobilenext.models import MobileNeXt

NETWORKS = {
    'mmdet-mobilenetv2': partial(mobilenetv2, 'mmdet'),
    'mmpretrain-mobilenetv2': partial(mobilenetv2, 'mmpretrain'),
    'paddleclas-mobilenext': paddle_mobilenext,
    'timm-mobilenetv2': partial(mobilenetv2, 'timm'),
    'torchvision-mobilenetv2': partial(mobilenetv2, 'torchvision'),
}
WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.4)


def backbone_of(source, width):
    kind = MobileNeXt if 'mobilenext' in source else MobileNetV2
    return kind(widen_factor=width, out_indices=(7,))


def save(path, weights, source, protocol=4, **others):
    """A file as the source writes it."""
    if not source.startswith('paddle'):
        torch.save(dict(meta=dict(epoch=300), state_dict=weights, **others), path)
        return path
    path = path.with_suffix('.pdparams')
    arrays = {key: value.numpy() for key, value in weights.items()}
    table = {key: f'param_{i}.w_0' for i, key in enumerate(arrays)}
    with open(path, 'wb') as file:
        pickle.dump({**arrays, 'StructuredToParameterName@@': table, **others}, file, protocol)
    return path


@cache
def weights_of(source):
    """Numbers at width 1; not to be changed."""
    return NETWORKS[source]().weights()


@pytest.mark.parametrize(
    ('source', 'width'),
    [
        *(('paddleclas-mobilenext', width) for width in WIDTHS),
        *(('timm-mobilenetv2', width) for width in WIDTHS),
        ('mmdet-mobilenetv2', 0.5),
        ('mmpretrain-mobilenetv2', 1.4),
        ('torchvision-mobilenetv2', 0.75),
    ],
)
def test_same_numbers(source, width):
    theirs = NETWORKS[source](width)
    weights = theirs.weights()
    converted, info = convert_state_dict(weights, source)
    assert info['widen_factor'] == width
    net = backbone_of(source, width)
    net.eval()
    prefix = 'backbone.'
    net.load_state_dict({k[9:]: v for k, v in converted.items() if k.startswith(prefix)})
    images = torch.rand(2, 3, 48, 64)
    with torch.no_grad():
        (ours,) = net(images)
    if theirs.head:
        assert info['num_classes'] == 1000
        ours = ours.mean((2, 3)) @ converted['head.fc.weight'].t() + converted['head.fc.bias']
    expected = theirs.run(weights, images)
    assert expected.std() > 0.01
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('width', WIDTHS)
def test_keys_are_those_of_the_installed_projects(width):
    """What the tests take for the layouts of OpenMMLab is what its own code builds."""
    import_mmpretrain()
    from mmpretrain.models.backbones import MobileNetV2 as Mmpretrain

    for kind, owner in ((Mmpretrain, 'mmpretrain'), (MobileNetV2, 'mmdet')):
        net = kind(widen_factor=width, out_indices=(7,))
        shapes = {f'backbone.{k}': tuple(v.shape) for k, v in net.state_dict().items()}
        others = {k: v for k, v in mobilenetv2(owner, width).shapes().items() if 'head' not in k}
        assert shapes == others


@pytest.mark.parametrize('source', NETWORKS)
def test_file_starts_our_detector(source, tmp_path, configs):
    weights = weights_of(source)
    path = save(tmp_path / 'foreign.pth', weights, source)
    meta = convert_checkpoint(path, tmp_path / 'ours.pth')  # recognised
    assert meta['source'] == source and len(meta['source_sha256']) == 64
    name = 'mobilenext' if 'mobilenext' in source else 'mobilenetv2'
    cfg = Config.fromfile(configs / f'ssdlite_{name}_voc.py').model
    cfg.backbone.init_cfg = dict(
        type='Pretrained', checkpoint=str(tmp_path / 'ours.pth'), prefix='backbone.'
    )
    detector = MODELS.build(cfg)
    (report,) = check_pretrained_init(detector).values()
    assert report.ok and report.matched == len(detector.backbone.state_dict())
    detector.init_weights()
    stem = next(v for k, v in weights.items() if v.dim() == 4)
    assert torch.equal(detector.backbone.conv1.conv.weight, stem)
    written = torch.load(tmp_path / 'ours.pth', weights_only=True)['state_dict']
    assert sum(v.numel() for v in written.values() if v.dim()) == sum(
        v.numel() for v in weights.values() if v.dim()
    )


@pytest.mark.parametrize('source', NETWORKS)
def test_recognised_although_a_key_is_foreign(source):
    weights = weights_of(source)
    for foreign in ('conv_stem.weight', 'features.1.conv.9._mean', 'box_head.predictor.x'):
        with pytest.raises(CheckpointKeyError) as error:
            convert_state_dict({**weights, foreign: torch.zeros(7)})
        assert f'  {foreign}' in str(error.value) and repr(source) in str(error.value)


def test_not_recognised(tmp_path):
    torch.save({'fc.weight': torch.zeros(1)}, tmp_path / 'in.pth')
    with pytest.raises(ValueError, match=r"like none of houqb-detector.*'fc.weight'.*--source"):
        convert_checkpoint(tmp_path / 'in.pth', tmp_path / 'out.pth')


class TestPaddle:
    source = 'paddleclas-mobilenext'

    @pytest.fixture
    def weights(self):
        return paddle_mobilenext(0.35, num_classes=6).weights()

    @pytest.mark.parametrize('protocol', [2, 3, 4])
    def test_protocols(self, weights, protocol, tmp_path):
        path = save(tmp_path / 'in', weights, self.source, protocol)
        meta = convert_checkpoint(path, tmp_path / 'out.pth', self.source)
        assert (meta['num_classes'], meta['widen_factor']) == (6, 0.35)
        assert meta['num_batches_tracked'] == 'not in the file, set to 0'
        written = torch.load(tmp_path / 'out.pth')['state_dict']
        assert torch.equal(written['head.fc.weight'], weights['classifier.1.weight'].t())
        counters = [v for k, v in written.items() if k.endswith('num_batches_tracked')]
        assert len(counters) > 50 and not any(counters)

    def test_matrix_as_pytorch_has_it(self, weights):
        turned = {**weights, 'classifier.1.weight': weights['classifier.1.weight'].t()}
        with pytest.raises(CheckpointKeyError) as error:
            convert_state_dict(turned, self.source)
        expected = 'classifier.1.weight (here head.fc.weight): model (1280, 6), file (6, 1280)'
        assert expected in str(error.value)

    def test_names_of_pytorch_are_unknown(self, weights):
        renamed = {k.replace('21.1._mean', '21.1.running_mean'): v for k, v in weights.items()}
        renamed['features.0.1.running_mean'] = renamed.pop('features.0.1._mean')
        with pytest.raises(CheckpointKeyError) as error:
            convert_state_dict(renamed, self.source)
        assert '  features.0.1.running_mean' in str(error.value)
        assert '  features.0.1._mean (here' in str(error.value)

    @pytest.mark.parametrize(
        ('others', 'told'),
        [
            ({'UnpackBigParamInfor@@': {}}, 'UnpackBigParamInfor@@.*1 GiB'),
            ({'StructuredToParameterName@@': 3}, 'must be a dict, but is a int'),
            ({'epoch': 3, 'best': {}}, r"none: \{'epoch': 'int', 'best': 'dict'\}"),
            ({'labels': np.array(['cat'])}, r"none: \{'labels': 'array of <U3'\}"),
        ],
    )
    def test_what_else_a_file_may_hold(self, weights, tmp_path, others, told):
        path = save(tmp_path / 'in', weights, self.source, **others)
        with pytest.raises(ValueError, match=told):
            convert_checkpoint(path, tmp_path / 'out.pth', self.source)

    def test_bare_list(self, tmp_path):
        (tmp_path / 'in.pdparams').write_bytes(pickle.dumps([1], 4))
        with pytest.raises(ValueError, match='holds a list'):
            convert_checkpoint(tmp_path / 'in.pdparams', tmp_path / 'out.pth')

    def test_bfloat16_is_told(self, weights, tmp_path):
        """PaddlePaddle stores it as uint16: bits, not numbers."""
        key = 'features.0.0.weight'
        bits = {**weights, key: weights[key].bfloat16().view(torch.int16)}
        path = save(tmp_path / 'in', bits, self.source)
        with pytest.raises(CheckpointKeyError, match=r'features\.0\.0\.weight.*int16'):
            convert_checkpoint(path, tmp_path / 'out.pth', self.source)

    def test_another_source(self, weights, tmp_path):
        path = save(tmp_path / 'in', weights, self.source)
        with pytest.raises(ValueError, match='--source paddleclas-mobilenext'):
            convert_checkpoint(path, tmp_path / 'out.pth', 'mobilenext-imagenet')
        torch.save(weights, tmp_path / 'in.pth')
        with pytest.raises(RuntimeError, match='not a pickle of arrays'):
            convert_checkpoint(tmp_path / 'in.pth', tmp_path / 'out.pth', self.source)


class TestMmdetDetector:
    @pytest.fixture
    def detector(self):
        others = {'neck.extra_layers.0.weight': torch.ones(2), 'bbox_head.bias': torch.ones(3)}
        return {**weights_of('mmdet-mobilenetv2'), **others, 'bbox_head.x': torch.ones(1)}

    def test_other_parts_are_left_out_and_told(self, detector):
        converted, info = convert_state_dict(detector, 'mmdet-mobilenetv2')
        assert info['left_out'] == dict(neck=1, bbox_head=2)
        assert all(k.startswith('backbone.') for k in converted)

    def test_other_roots_are_unknown(self, detector):
        for key in ('box_head.bias', 'backbone.fc.weight', 'conv1.conv.weight'):
            with pytest.raises(CheckpointKeyError, match=rf'  {key}'):
                convert_state_dict({**detector, key: torch.ones(1)}, 'mmdet-mobilenetv2')

    def test_bare_backbone(self):
        bare = {k[9:]: v for k, v in weights_of('mmdet-mobilenetv2').items()}
        converted, info = convert_state_dict(bare)
        assert info == dict(widen_factor=1.0)
        assert torch.equal(converted['backbone.conv1.conv.weight'], bare['conv1.conv.weight'])
        for key in ('bbox_head.bias', 'backbone.conv1.conv.weight'):
            with pytest.raises(CheckpointKeyError, match=rf'  {key}'):
                convert_state_dict({**bare, key: torch.ones(1)})


def test_deeper_networks_of_timm_are_refused():
    deeper = mobilenetv2('timm', 1.1, repeats=(1, 3, 4, 5, 4, 4, 1)).weights()
    with pytest.raises(ValueError, match=r'mobilenetv2_110d.*blocks\.1\.2, blocks\.2\.3'):
        convert_state_dict(deeper, 'timm-mobilenetv2')


def test_ema_of_timm(tmp_path):
    weights = mobilenetv2('timm', 0.35).weights()
    ema = {**weights, 'classifier.bias': weights['classifier.bias'] + 1}
    save(tmp_path / 'in.pth', weights, 'timm', state_dict_ema=ema)
    meta = convert_checkpoint(tmp_path / 'in.pth', tmp_path / 'out.pth', use_ema=True)
    assert meta['source_weights'] == 'state_dict_ema'
    written = torch.load(tmp_path / 'out.pth')['state_dict']
    assert torch.equal(written['head.fc.bias'], ema['classifier.bias'])


def test_half_precision_becomes_single():
    weights = mobilenetv2('timm', 0.35).weights()
    half = {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}
    converted, _ = convert_state_dict(half)
    assert {v.dtype for v in converted.values()} == {torch.float32, torch.int64}
    torch.testing.assert_close(
        converted['head.fc.weight'], weights['classifier.weight'], rtol=1e-3, atol=1e-3
    )


def test_result_shares_no_memory():
    """A view would be saved with all the memory that it is a part of."""
    weights = mobilenetv2('timm', 0.35).weights()
    storage = torch.zeros(10_000)
    weights['bn1.weight'] = storage[:16]
    converted, _ = convert_state_dict(weights)
    assert all(v.untyped_storage().nbytes() == v.nbytes for v in converted.values())
    storage += 1
    assert not converted['backbone.conv1.bn.weight'].any()


def test_counters_are_all_there_or_none():
    weights = mobilenetv2('timm', 0.35).weights()
    counters = [k for k in weights if k.endswith('num_batches_tracked')]
    without = {k: v for k, v in weights.items() if k not in counters}
    converted, info = convert_state_dict(without)
    assert info['num_batches_tracked'] == 'not in the file, set to 0'
    assert len(converted) == len(weights)
    with pytest.raises(CheckpointKeyError, match=f'{len(counters) - 1} missing'):
        convert_state_dict({**without, counters[0]: weights[counters[0]]})


def test_safetensors_without_the_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'safetensors', None)
    (tmp_path / 'in.safetensors').write_bytes(bytes(8))
    with pytest.raises(RuntimeError, match=r'pip install\s+safetensors.*\.pth'):
        convert_checkpoint(tmp_path / 'in.safetensors', tmp_path / 'out.pth')


def test_tool_knows_every_source(root, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['convert_checkpoint.py', '--help'])
    with pytest.raises(SystemExit, match='0'):
        runpy.run_path(str(root / 'tools' / 'convert_checkpoint.py'), run_name='__main__')
    told = capsys.readouterr().out
    assert all(source in told for source in ('auto', *SOURCES))


def test_malicious_file_of_paddle_is_refused(tmp_path):
    class Payload:
        def __reduce__(self):
            return tmp_path.joinpath('was_run').mkdir, ()

    (tmp_path / 'in.pdparams').write_bytes(pickle.dumps({'features.0.0.weight': Payload()}, 4))
    with pytest.raises(UnsafeCheckpointError, match='getattr'):
        convert_checkpoint(tmp_path / 'in.pdparams', tmp_path / 'out.pth')
    assert not (tmp_path / 'was_run').exists() and not (tmp_path / 'out.pth').exists()
