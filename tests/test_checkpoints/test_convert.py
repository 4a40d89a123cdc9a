# SPDX-License-Identifier: Apache-2.0
import hashlib
import runpy
import sys

import pytest
import torch
import torch.nn.functional as F
from golden import load, make_input, make_state_dict
from mmdet.datasets import CocoDataset
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.runner import load_checkpoint

from mmdet_mobilenext.checkpoints.class_rows import CLASS_SETS
from mmdet_mobilenext.checkpoints.convert import (
    SOURCES,
    convert_checkpoint,
    convert_state_dict,
)
from mmdet_mobilenext.checkpoints.publish import publish_checkpoint
from mmdet_mobilenext.checkpoints.safe_loading import UnsafeCheckpointError
from mmdet_mobilenext.checkpoints.sources.houqb_detector import background_last
from mmdet_mobilenext.checkpoints.strict import CheckpointKeyError
from mmdet_mobilenext.models import MobileNeXt

FORMATS = {
    'mobilenext detector': ('houqb-detector', 'mobilenext'),
    'mobilenetv2 detector': ('houqb-detector', 'mobilenet_v2'),
    'mobilenext imagenet': ('mobilenext-imagenet', 'imagenet_mobilenext_1.0'),
    'mobilenetv2 imagenet': ('torchvision-mobilenetv2', None),
}


def make_source(name):
    """Weights as the source has them."""
    source, golden_name = FORMATS[name]
    if golden_name is not None:
        return source, make_state_dict(load('models')[golden_name]['state_dict'])
    # torchvision's keys are those of the authors' MobileNetV2 backbone.
    shapes = load('models')['mobilenet_v2']['state_dict']
    shapes = {
        k.removeprefix('backbone.'): v
        for k, v in shapes.items()
        if k.startswith('backbone.features')
    }
    shapes |= {'classifier.1.weight': [1000, 1280], 'classifier.1.bias': [1000]}
    return source, make_state_dict(shapes)


@pytest.fixture(scope='module', params=FORMATS)
def weights(request):
    return make_source(request.param)


def test_every_key_arrives_once(weights):
    source, state_dict = weights
    converted, _ = convert_state_dict(state_dict, source)
    assert len(converted) == len(state_dict)
    assert sum(v.numel() for v in converted.values()) == sum(v.numel() for v in state_dict.values())


def some_keys(state_dict):
    """One key of every kind, from all over the network."""
    keys = list(state_dict)
    return [*keys[:: max(1, len(keys) // 12)], keys[-1], keys[-2]]


def test_dropped_keys_are_named(weights):
    source, state_dict = weights
    for key in some_keys(state_dict):
        broken = {k: v for k, v in state_dict.items() if k != key}
        with pytest.raises(CheckpointKeyError) as error:
            convert_state_dict(broken, source)
        assert f'  {key} (here ' in str(error.value)
        assert '1 missing' in str(error.value)


def test_renamed_keys_are_named(weights):
    source, state_dict = weights
    for key in some_keys(state_dict):
        other = key.replace('.', '.x', 1)
        renamed = {(other if k == key else k): v for k, v in state_dict.items()}
        with pytest.raises(CheckpointKeyError) as error:
            convert_state_dict(renamed, source)
        assert other in str(error.value)


def test_added_keys_are_named(weights):
    source, state_dict = weights
    with pytest.raises(CheckpointKeyError, match=r'features\.99\.conv\.0\.weight'):
        convert_state_dict({**state_dict, 'features.99.conv.0.weight': torch.zeros(1)}, source)


def test_wrong_shapes_are_named(weights):
    source, state_dict = weights
    for key in some_keys(state_dict):
        if state_dict[key].dim() == 0:
            continue
        reshaped = {k: (v.unsqueeze(0) if k == key else v) for k, v in state_dict.items()}
        with pytest.raises(CheckpointKeyError, match='with another shape'):
            convert_state_dict(reshaped, source)


@pytest.mark.parametrize('source', SOURCES)
def test_other_networks_are_refused(source):
    state = {'layer1.0.conv1.weight': torch.zeros(4, 4, 3, 3)}
    with pytest.raises(ValueError, match=r'this is no'):
        convert_state_dict(state, source)


def test_class_channels_are_turned():
    _, state_dict = make_source('mobilenext detector')
    converted, info = convert_state_dict(state_dict, 'houqb-detector')
    assert info == dict(backbone='mobilenext', num_classes=20, scores='softmax')
    for old, new in (
        ('box_head.predictor.cls_headers.0.conv.3.weight', 'bbox_head.cls_convs.0.1.weight'),
        ('box_head.predictor.cls_headers.5.bias', 'bbox_head.cls_convs.5.0.bias'),
    ):
        before = state_dict[old].reshape(6, 21, -1)
        after = converted[new].reshape(6, 21, -1)
        assert torch.equal(after[:, 20], before[:, 0])  # background
        assert torch.equal(after[:, :20], before[:, 1:])
    # Boxes have no classes to turn.
    assert torch.equal(
        converted['bbox_head.reg_convs.5.0.bias'],
        state_dict['box_head.predictor.reg_headers.5.bias'],
    )


COCO_FILES = {'mobilenext': 'mobilenext', 'mobilenetv2': 'mobilenet_v2'}


@pytest.fixture(scope='module', params=COCO_FILES)
def coco_weights(request):
    """The authors' weights of COCO: 81 outputs, and four priors on the last level."""
    shapes = dict(load('models')[COCO_FILES[request.param]]['state_dict'])
    for key, shape in shapes.items():
        priors = 4 if '_headers.5.' in key else 6
        for branch, rows in (('cls', 81), ('reg', 4)):
            is_prediction = '.conv.3.' in key or '_headers.5.' in key
            if f'.{branch}_headers.' in key and is_prediction:
                shapes[key] = [priors * rows, *shape[1:]]
    return request.param, make_state_dict(shapes)


def test_coco_detector_fills_the_coco_config(coco_weights, tmp_path, configs):
    """And with VOC's rows the config that goes on from it."""
    name, weights = coco_weights
    source, target = tmp_path / 'authors.pth', tmp_path / 'coco.pth'
    torch.save(dict(model=weights), source)
    meta = convert_checkpoint(source, target, scores='sigmoid')
    assert (meta['backbone'], meta['num_classes'], meta['scores']) == (name, 80, 'sigmoid')
    assert meta['dropped'].startswith('output 80 of each prior (counted from 0)')
    assert meta['dataset_meta']['classes'] == CocoDataset.METAINFO['classes']
    published = publish_checkpoint(target, tmp_path / 'voc.pth', classes=CLASS_SETS['voc'])
    for variant, path in (('coco', target), ('coco2voc', published)):
        detector = MODELS.build(Config.fromfile(configs / f'ssdlite_{name}_{variant}.py').model)
        load_checkpoint(detector, str(path), strict=True)


@torch.inference_mode()
def test_coco_detector_predicts_the_authors_scores(coco_weights, configs):
    """Output k - 1 is class k: without a background, nothing is moved."""
    name, weights = coco_weights
    detector = MODELS.build(Config.fromfile(configs / f'ssdlite_{name}_coco.py').model).eval()
    detector.load_state_dict(convert_state_dict(weights, scores='sigmoid')[0])
    features = detector.extract_feat(make_input(320))
    for level, (feature, scores) in enumerate(
        zip(features, detector.bbox_head(features)[0], strict=True)
    ):
        prefix = f'box_head.predictor.cls_headers.{level}'
        if level < 5:  # depthwise, norm and ReLU6 before the prediction
            feature = detector.bbox_head.cls_convs[level][0](feature)
            prefix = f'{prefix}.conv.3'
        theirs = F.conv2d(feature, weights[f'{prefix}.weight'], weights[f'{prefix}.bias'])
        torch.testing.assert_close(
            scores.unflatten(1, (-1, 80)), theirs.unflatten(1, (-1, 81))[:, :, :80]
        )


def test_coco_detector_with_softmax(coco_weights):
    """With MultiBox loss the 81 outputs are background and classes."""
    name, weights = coco_weights
    converted, info = convert_state_dict(weights, scores='softmax')
    assert info == dict(backbone=name, num_classes=80, scores='softmax')
    key = 'box_head.predictor.cls_headers.5.bias'
    before, after = weights[key].reshape(4, 81), converted['bbox_head.cls_convs.5.0.bias']
    assert torch.equal(after.reshape(4, 81), before.roll(-1, dims=1))


def test_coco_detector_needs_to_be_told(coco_weights, tmp_path):
    _, weights = coco_weights
    torch.save(weights, tmp_path / 'authors.pth')
    with pytest.raises(ValueError, match=r'81 outputs .* 4 boxes .* pass --scores sigmoid for 80'):
        convert_checkpoint(tmp_path / 'authors.pth', tmp_path / 'coco.pth')
    assert not (tmp_path / 'coco.pth').exists()
    with pytest.raises(ValueError, match=r"one of \('softmax', 'sigmoid'\), but received 'focal'"):
        convert_state_dict(weights, scores='focal')
    with pytest.raises(ValueError, match=r"--scores is for detectors, but the source is 'timm"):
        convert_state_dict(weights, 'timm-mobilenetv2', scores='sigmoid')


def test_background_last_twice_more_is_the_identity():
    tensor = torch.arange(9)
    turned = tensor
    for _ in range(3):
        turned = background_last(turned, 3)
    assert torch.equal(turned, tensor)


@pytest.fixture
def houqb_file(tmp_path):
    path = tmp_path / 'authors.pth'
    torch.save(dict(model=make_source('mobilenext detector')[1], iteration=60000), path)
    return path


def test_detector_file(houqb_file, tmp_path, configs):
    target = tmp_path / 'out' / 'detector.pth'
    meta = convert_checkpoint(houqb_file, target, 'houqb-detector')
    written = torch.load(target, weights_only=True)
    assert written['meta'] == meta
    assert meta['source_sha256'] == hashlib.sha256(houqb_file.read_bytes()).hexdigest()
    assert meta['source'] == 'houqb-detector'
    assert meta['dataset_meta']['classes'][0] == 'aeroplane'
    assert meta['time'].endswith('UTC')
    detector = MODELS.build(Config.fromfile(configs / 'ssdlite_mobilenext_voc.py').model)
    load_checkpoint(detector, str(target), strict=True)
    assert list(target.parent.iterdir()) == [target]  # nothing half-written is left


def test_existing_target_is_kept(houqb_file, tmp_path):
    target = tmp_path / 'detector.pth'
    target.write_text('mine')
    with pytest.raises(FileExistsError, match='--force'):
        convert_checkpoint(houqb_file, target, 'houqb-detector')
    assert target.read_text() == 'mine'
    convert_checkpoint(houqb_file, target, 'houqb-detector', force=True)
    assert target.stat().st_size > 1e6


@pytest.mark.parametrize('container', ['state_dict', 'state_dict_ema', None])
@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_imagenet_file_initialises_a_backbone(tmp_path, container, prefix):
    _, weights = make_source('mobilenext imagenet')
    weights = {prefix + k: v for k, v in weights.items()}
    source, target = tmp_path / 'in.pth.tar', tmp_path / 'out.pth'
    torch.save(weights if container is None else {container: weights, 'epoch': 200}, source)
    convert_checkpoint(source, target, 'mobilenext-imagenet')
    net = MobileNeXt(
        out_indices=(5, 7, 7),
        taps=('expansion', 'expansion', 'output'),
        init_cfg=dict(type='Pretrained', checkpoint=str(target), prefix='backbone.'),
    )
    net.init_weights()
    assert torch.equal(net.conv1.conv.weight, weights[f'{prefix}features.0.0.weight'])
    assert torch.equal(
        net.layer8[0].dw_out.bn.running_var, weights[f'{prefix}features.20.conv.9.running_var']
    )


def test_ema_is_taken_when_asked(tmp_path):
    _, weights = make_source('mobilenext imagenet')
    ema = {k: (v + 1 if v.is_floating_point() else v) for k, v in weights.items()}
    source = tmp_path / 'in.pth'
    torch.save(dict(state_dict=weights, state_dict_ema=ema), source)
    convert_checkpoint(source, tmp_path / 'a.pth', 'mobilenext-imagenet')
    convert_checkpoint(source, tmp_path / 'b.pth', 'mobilenext-imagenet', use_ema=True)
    read = [torch.load(tmp_path / f)['state_dict']['head.fc.bias'] for f in ('a.pth', 'b.pth')]
    assert torch.equal(read[0] + 1, read[1])
    metas = [torch.load(tmp_path / f)['meta']['source_weights'] for f in ('a.pth', 'b.pth')]
    assert metas == ['state_dict', 'state_dict_ema']


def test_torchvision_file_initialises_a_backbone(tmp_path):
    _, weights = make_source('mobilenetv2 imagenet')
    source, target = tmp_path / 'in.pth', tmp_path / 'out.pth'
    torch.save(weights, source)
    convert_checkpoint(source, target, 'torchvision-mobilenetv2')
    net = MODELS.build(
        dict(
            type='MobileNetV2',
            out_indices=(4, 7),
            init_cfg=dict(type='Pretrained', checkpoint=str(target), prefix='backbone.'),
        )
    )
    net.init_weights()
    assert torch.equal(net.conv2.conv.weight, weights['features.18.0.weight'])
    assert torch.equal(net.layer1[0].linear_conv.conv.weight, weights['features.1.conv.1.weight'])


def test_unknown_number_of_classes_needs_names(tmp_path):
    shapes = dict(load('models')['mobilenext']['state_dict'])
    for key, shape in shapes.items():
        if 'cls_headers' in key and shape and shape[0] == 126:
            shapes[key] = [6 * 4, *shape[1:]]
    source = tmp_path / 'in.pth'
    torch.save(dict(model=make_state_dict(shapes)), source)
    with pytest.raises(ValueError, match=r'3 classes.*--classes'):
        convert_checkpoint(source, tmp_path / 'out.pth', 'houqb-detector')
    meta = convert_checkpoint(
        source, tmp_path / 'out.pth', 'houqb-detector', classes=['a', 'b', 'c']
    )
    assert meta['dataset_meta']['classes'] == ('a', 'b', 'c')


class Payload:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        import os

        return os.system, ('true',)


def test_tool(houqb_file, tmp_path, root, monkeypatch, capsys):
    def run(*args):
        monkeypatch.setattr(sys, 'argv', ['convert_checkpoint.py', *map(str, args)])
        runpy.run_path(str(root / 'tools' / 'convert_checkpoint.py'), run_name='__main__')

    monkeypatch.chdir(tmp_path)
    run(houqb_file, 'out.pth', '--source', 'houqb-detector')
    assert 'source_sha256' in capsys.readouterr().out
    run(houqb_file, 'focal.pth', '--scores', 'sigmoid')
    assert '  dropped: output 20 of each prior' in capsys.readouterr().out
    run(houqb_file, 'again.pth')  # recognised
    assert '  source: houqb-detector' in capsys.readouterr().out
    torch.save(dict(model={'features.0.0.weight': Payload()}), houqb_file)
    with pytest.raises(SystemExit, match=r'UnsafeCheckpointError.*system'):
        run(houqb_file, 'out2.pth', '--source', 'houqb-detector')
    assert not (tmp_path / 'out2.pth').exists()


def test_unsafe_input_is_refused(tmp_path):
    path = tmp_path / 'bad.pth'
    torch.save(dict(model={'a': Payload()}), path)
    with pytest.raises(UnsafeCheckpointError, match='system'):
        convert_checkpoint(path, tmp_path / 'out.pth', 'houqb-detector')


def test_options_that_cannot_be_meant(houqb_file, tmp_path):
    with pytest.raises(ValueError, match='input itself'):
        convert_checkpoint(houqb_file, houqb_file, 'houqb-detector', force=True)
    with pytest.raises(ValueError, match='--classes is for detectors'):
        convert_checkpoint(houqb_file, tmp_path / 'o.pth', 'mobilenext-imagenet', classes=['a'])
    with pytest.raises(ValueError, match='another --source'):
        convert_checkpoint(houqb_file, tmp_path / 'o.pth', 'torchvision-mobilenetv2')
    convert_checkpoint(houqb_file, tmp_path / 'o.pth', 'houqb-detector')
    with pytest.raises(ValueError, match='converted already'):
        convert_checkpoint(tmp_path / 'o.pth', tmp_path / 'p.pth', 'houqb-detector')


def test_same_key_twice_is_refused(tmp_path):
    _, weights = make_source('mobilenext imagenet')
    torch.save({**weights, **{f'module.{k}': v for k, v in weights.items()}}, tmp_path / 'in.pth')
    with pytest.raises(ValueError, match='with and without a module'):
        convert_checkpoint(tmp_path / 'in.pth', tmp_path / 'out.pth', 'mobilenext-imagenet')
