# SPDX-License-Identifier: Apache-2.0
"""Exported files: what they find, say and hold, and how they are written."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from limits import largest_file
from random_detectors import noise, predict, random_detector, save_checkpoint, share_found
from small_voc import environment, run_tool

from mmdet_mobilenext.engine.config import load_config
from mmdet_mobilenext.export import ExportError, deployable, export, packages
from mmdet_mobilenext.export.export import check_target, write
from mmdet_mobilenext.runtime import Detector, ModelFileError
from mmdet_mobilenext.runtime.spec import KEY

SMALL = """
_base_ = '{base}'
backbone = dict(widen_factor=0.35, frozen_stages=-1)
model = dict(
    backbone=backbone,
    neck=dict(in_channels=(104, 200, 336), out_channels=(104, 200, 336, 256)),
    bbox_head=dict(num_classes=3, in_channels=(104, 200, 336, 256){head}),
)
"""
CLASSES = ('cat', 'a "quoted" <dog> & co', 'Zürich\u3042')


def prepare(folder: Path, base: Path, head: str = ''):
    """A config file, a detector with random weights and its checkpoint."""
    config = folder / 'small.py'
    config.write_text(SMALL.format(base=base, head=head))
    cfg = load_config(str(config))
    model = random_detector(cfg)
    checkpoint = save_checkpoint(
        model, folder / 'epoch_3.pth', epoch=3, dataset_meta=dict(classes=CLASSES)
    )
    return str(config), checkpoint, model


@pytest.fixture(scope='module')
def small(tmp_path_factory, configs):
    return prepare(tmp_path_factory.mktemp('small'), configs / 'ssdlite_mobilenext_demo.py')


@pytest.fixture(scope='module')
def onnx_file(small, tmp_path_factory):
    """NMS inside, one image a run, through the tool."""
    out = tmp_path_factory.mktemp('onnx') / 'small.onnx'
    done = run_tool('export.py', small[0], small[1], out)
    assert f'wrote {out}' in done.stdout
    return out


@pytest.fixture(scope='module')
def dynamic_files(small, tmp_path_factory):
    """RGB, any number of images, another size: raw, and with NMS for OpenVINO."""
    folder = tmp_path_factory.mktemp('dynamic')
    options = dict(size=(160, 96), color='rgb', batch=None)
    raw = export(*small[:2], folder / 'raw.onnx', with_nms=False, **options)
    return raw, export(*small[:2], folder / 'nms.xml', **options)


@pytest.fixture(scope='module')
def sigmoid_files(tmp_path_factory, configs):
    """The focal loss has a score for each class and no background; two images a run."""
    folder = tmp_path_factory.mktemp('sigmoid')
    focal = ", loss_cls=dict(_delete_=True, type='FocalLoss', use_sigmoid=True)"
    head = f'{focal}), train_cfg=dict(neg_pos_ratio=None'
    config, checkpoint, model = prepare(folder, configs / 'ssdlite_mobilenext_demo.py', head)
    return export(config, checkpoint, folder / 'sigmoid.onnx', batch=2, score_thr=0.3), model


def run(path, images, **options):
    return Detector(path, threads=1, **options).run(images)


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_an_onnx_file_finds_what_the_detector_predicts(small, onnx_file, backend):
    images = noise(3, (128, 128), seed=1)
    wanted = predict(small[2], images)
    assert share_found(wanted, run(onnx_file, images, backend=backend)) > 0.97


def test_raw_and_with_nms_find_the_same(dynamic_files):
    images = noise(3, (160, 96), seed=2)
    found = [run(path, images) for path in dynamic_files]
    assert share_found(found[0], found[1]) > 0.97
    assert share_found(found[1], found[0]) > 0.97
    for number in range(3):  # alone or in a batch
        alone = run(dynamic_files[0], images[number : number + 1])
        assert share_found(alone, found[0][number : number + 1]) > 0.97


def test_sigmoid_fixed_batch_and_threshold(sigmoid_files):
    path, model = sigmoid_files
    images = noise(3, (128, 128), seed=3)
    found = run(path, images)  # two and one, which is filled up
    assert all(scores.min() > 0.3 for _, scores, _ in found)
    wanted = [
        tuple(part[part_of[1] > 0.301] for part in part_of) for part_of in predict(model, images)
    ]
    assert share_found(wanted, found) > 0.97
    strict = run(path, images, score_thr=0.6)
    assert [len(part[1]) for part in strict] == [int((part[1] > 0.6).sum()) for part in found]


def test_detections_are_in_pixels_of_the_image(small, onnx_file):
    image = noise(1, (300, 200), seed=4)[0]
    detector = Detector(onnx_file, threads=1)
    found = detector(image)
    ((boxes, _, labels),) = detector.run(cv2.resize(image, (128, 128))[None])
    scale = np.array([300 / 128, 200 / 128] * 2, np.float32)
    np.testing.assert_allclose(found.boxes, boxes * scale, rtol=1e-5)
    assert found.size == (300, 200) and found.classes == CLASSES
    assert found.names() == [CLASSES[label] for label in labels]


def test_metadata(small, onnx_file, dynamic_files, sigmoid_files):
    spec = Detector(onnx_file).spec
    assert (spec.classes, spec.size, spec.color) == (CLASSES, (128, 128), 'bgr')
    assert (spec.kind, spec.batch, spec.precision) == ('detections', 1, 'float32')
    assert (spec.score_thr, spec.iou_thr, spec.max_per_img) == (0.01, 0.45, 100)
    origin = spec.provenance
    assert origin['config'] == 'small.py' and origin['checkpoint'] == 'epoch_3.pth'
    assert origin['backbone'] == 'MobileNeXt' and origin['epoch'] == 3
    assert len(origin['checkpoint_sha256']) == 64 and 'torch' in origin['versions']
    raw, nms = (Detector(path).spec for path in dynamic_files)
    assert raw.kind == 'raw' and nms.kind == 'detections'
    for spec in (raw, nms):
        assert (spec.size, spec.color, spec.batch, spec.classes) == (
            (160, 96),
            'rgb',
            None,
            CLASSES,
        )
        assert spec.provenance['trained_size'] == [128, 128]
    assert Detector(sigmoid_files[0]).spec.batch == 2
    assert Detector(sigmoid_files[0]).spec.score_thr == 0.3


def test_files_hold_no_paths_of_the_machine(small, onnx_file, dynamic_files):
    for path in (
        onnx_file,
        dynamic_files[0],
        dynamic_files[1],
        dynamic_files[1].with_suffix('.bin'),
    ):
        content = path.read_bytes()
        for word in (
            str(Path(small[0]).parent),
            os.getcwd(),
            str(Path(torch.__file__).parents[1]),
            str(Path.home()) + os.sep,
            '.py", line',
            'stack_trace',
            'Traceback',
        ):
            assert word.encode() not in content, f'{word} in {path.name}'
    assert sorted(os.listdir(onnx_file.parent)) == ['small.onnx']
    assert sorted(os.listdir(dynamic_files[0].parent)) == ['nms.bin', 'nms.xml', 'raw.onnx']


def test_contract_of_the_graph(onnx_file, dynamic_files):
    import onnx

    def shapes(values):
        return {
            v.name: [d.dim_value or d.dim_param for d in v.type.tensor_type.shape.dim]
            for v in values
        }

    model = onnx.load(onnx_file)
    assert shapes(model.graph.input) == {'images': [1, 128, 128, 3]}
    assert shapes(model.graph.output) == dict(boxes=[1, 100, 4], scores=[1, 100], labels=[1, 100])
    kinds = [v.type.tensor_type.elem_type for v in [*model.graph.input, *model.graph.output]]
    names = ('UINT8', 'FLOAT', 'FLOAT', 'INT64')
    assert kinds == [getattr(onnx.TensorProto, name) for name in names]
    assert not any(node.op_type == 'BatchNormalization' for node in model.graph.node)
    raw = onnx.load(dynamic_files[0])
    assert shapes(raw.graph.input) == {'images': ['batch', 96, 160, 3]}
    (text,) = (entry.value for entry in model.metadata_props if entry.key == KEY)
    assert json.loads(text)['format'] == 1


# What is refused before any work ----------------------------------------------


def test_targets(tmp_path):
    assert check_target(tmp_path / 'a.onnx', None, False) == (tmp_path / 'a.onnx', 'onnx')
    assert check_target(tmp_path / 'a.XML', None, False) == (tmp_path / 'a.xml', 'openvino')
    assert check_target(tmp_path / 'v1.2', 'ncnn', False) == (tmp_path / 'v1.2.param', 'ncnn')
    for name, file_format in (('a.onnx', 'openvino'), ('a.pth', None), ('a.onnx', 'tflite')):
        with pytest.raises(ExportError, match=f'{name} does not fit'):
            check_target(tmp_path / name, file_format, False)
    (tmp_path / 'b.bin').write_text('of somebody else')
    with pytest.raises(FileExistsError, match=r'b\.bin exists: --force'):
        check_target(tmp_path / 'b.xml', None, False)
    check_target(tmp_path / 'b.xml', None, True)
    (tmp_path / 'b.xml').write_text('')
    for force in (False, True):
        with pytest.raises(FileExistsError, match=r'b\.bin belongs to .*b\.xml: give another name'):
            check_target(tmp_path / 'b.param', None, force)
    check_target(tmp_path / 'b.xml', None, True)
    (tmp_path / 'c.onnx').mkdir()
    with pytest.raises(FileExistsError, match=r'c\.onnx is a folder'):
        check_target(tmp_path / 'c.onnx', None, True)


def test_missing_packages_are_named(small, tmp_path, monkeypatch):
    monkeypatch.setattr(packages, 'find_spec', lambda name: None if 'script' in name else name)
    with pytest.raises(ExportError, match=r'onnx needs onnxscript: `pip install .*\[export\]'):
        export(*small[:2], tmp_path / 'a.onnx')


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (dict(color='grey'), 'order of channels'),
        (dict(batch=0), '--batch must be at least 1'),
        (dict(score_thr=1.5), '--score-thr must be in'),
        (dict(size=(0, 128)), 'size must be positive'),
        (dict(classes=['one']), '--classes has 1 names, but the head has 3'),
        (dict(cfg_options={'model.test_cfg.nms_pre': 10}), r'nms_pre=10 cuts .*test_cfg.nms_pre='),
        (dict(cfg_options={'model.test_cfg.nms_pre': -1}), r'nms_pre=-1 cuts'),
        (dict(cfg_options={'model.test_cfg.nms.type': 'soft_nms'}), "nms.type='soft_nms'"),
        (dict(cfg_options={'model.test_cfg.min_bbox_size': 4}), 'min_bbox_size=4'),
        (dict(cfg_options={'model.test_cfg.max_per_img': -1}), 'max_per_img=-1'),
    ],
)
def test_options_are_refused(small, tmp_path, options, said):
    with pytest.raises(ExportError, match=said):
        export(*small[:2], tmp_path / 'a.onnx', **options)
    assert not os.listdir(tmp_path)


def test_checkpoints_of_other_models_are_refused(small, tmp_path, configs):
    from mmdet_mobilenext.checkpoints.strict import CheckpointKeyError

    with pytest.raises(CheckpointKeyError, match='checkpoint of another model'):
        export(str(configs / 'ssdlite_mobilenext_demo.py'), small[1], tmp_path / 'a.onnx')
    with pytest.raises(FileNotFoundError):
        export(small[0], str(tmp_path / 'none.pth'), tmp_path / 'a.onnx')
    assert not os.listdir(tmp_path)


# Writing: whole or not at all ----------------------------------------------------


@pytest.fixture(scope='module')
def ready(small):
    return deployable(*small[:2])


def test_a_file_that_finds_something_else_is_not_written(ready, tmp_path, monkeypatch):
    import mmdet_mobilenext.export.onnx_file as module

    (tmp_path / 'a.onnx').write_bytes(b'before')
    honest = module.write_onnx

    def write_other(network, images, spec, path):
        biases = [branch[-1].bias for branch in network.network.head.reg_convs]
        for bias in biases:
            bias += 3
        honest(network, images, spec, path)
        for bias in biases:
            bias -= 3

    monkeypatch.setattr(module, 'write_onnx', write_other)
    with pytest.raises(ExportError, match='the file has no detection of class'):
        write(ready, tmp_path / 'a.onnx', 'onnx')
    assert os.listdir(tmp_path) == ['a.onnx']
    assert (tmp_path / 'a.onnx').read_bytes() == b'before'


def test_a_file_that_finds_too_much_is_not_written(ready, tmp_path, monkeypatch):
    import mmdet_mobilenext.export.onnx_file as module

    honest = module.write_onnx

    def without_nms(network, images, spec, path):
        network.options = (network.options[0], 1.0, network.options[2])
        honest(network, images, spec, path)

    monkeypatch.setattr(module, 'write_onnx', without_nms)
    with pytest.raises(ExportError, match='PyTorch has no detection of class'):
        write(ready, tmp_path / 'a.onnx', 'onnx')
    assert not os.listdir(tmp_path)


def test_a_full_disk_leaves_what_was_there(ready, onnx_file, tmp_path, monkeypatch):
    import mmdet_mobilenext.export.onnx_file as module

    content = onnx_file.read_bytes()

    def copy(network, images, spec, path):  # as onnx.save writes
        with open(path, 'wb') as file:
            file.write(content)

    monkeypatch.setattr(module, 'write_onnx', copy)
    (tmp_path / 'a.onnx').write_bytes(b'before')
    with largest_file(len(content) // 2), pytest.raises(OSError):
        write(ready, tmp_path / 'a.onnx', 'onnx')
    assert os.listdir(tmp_path) == ['a.onnx']
    assert (tmp_path / 'a.onnx').read_bytes() == b'before'
    write(ready, tmp_path / 'a.onnx', 'onnx')
    assert (tmp_path / 'a.onnx').read_bytes() == content


KILL = """
import os, sys
import mmdet_mobilenext.export
module = sys.modules['mmdet_mobilenext.export.export']
os.replace = lambda *_: os._exit(9)
module.check_export = lambda *_: None
import mmdet_mobilenext.export.onnx_file, mmdet_mobilenext.export.openvino_file as other
mmdet_mobilenext.export.onnx_file.write_onnx = lambda n, i, s, path: path.write_bytes(b'x')
def fake(onnx, spec, path):
    path.write_bytes(b'new'); path.with_suffix('.bin').write_bytes(b'new')
other.write_openvino = fake
from types import SimpleNamespace as Name
from pathlib import Path
spec = Name(kind='raw', size=(8, 8), batch=1)
module.write(Name(network=None, spec=spec, chosen=None), Path(sys.argv[1]), 'openvino')
"""


def test_a_kill_between_two_files_leaves_no_pair_of_old_and_new(tmp_path):
    path = tmp_path / 'a.xml'
    path.write_bytes(b'old')
    path.with_suffix('.bin').write_bytes(b'old')
    done = subprocess.run([sys.executable, '-c', KILL, str(path)], env=environment())
    assert done.returncode == 9
    assert not path.exists() and path.with_suffix('.bin').read_bytes() == b'old'


# Damaged files ---------------------------------------------------------------------

READ = """
import sys
import numpy as np
from mmdet_mobilenext.runtime import Detector, ModelFileError
refused = ran = 0
for path in sys.argv[1:]:
    try:
        detector = Detector(path, threads=1)
        width, height = detector.size
        if width * height <= 1 << 16:
            detector.run(np.full((1, height, width, 3), 99, np.uint8))
        ran += 1
    except ModelFileError:
        refused += 1
print(refused, ran)
"""


def damaged(path: Path, folder: Path, number: int, companion: str = '') -> list[Path]:
    """Copies that are cut or have flipped bits; in the companion, if there is one."""
    rng = random.Random(1)
    victim = path.with_suffix(companion) if companion else path
    content, found = victim.read_bytes(), []
    for count in range(number):
        data = bytearray(content)
        if count % 3 == 0:
            del data[rng.randrange(len(data)) :]
        else:  # half of them in the graph and the metadata, at both ends
            for _ in range(1 << rng.randrange(6)):
                place = rng.choice([rng.randrange(len(data)), rng.randrange(min(2000, len(data)))])
                data[place] ^= 1 << rng.randrange(8)
        copy = folder / f'{victim.suffix[1:]}{count}{path.suffix}'
        copy.write_bytes(path.read_bytes())
        if companion:
            copy.with_suffix(companion).write_bytes(data)
        else:
            copy.write_bytes(data)
            if path.suffix == '.xml':
                os.link(path.with_suffix('.bin'), copy.with_suffix('.bin'))
        found.append(copy)
    return found


@pytest.mark.parametrize(('which', 'companion'), [('onnx', ''), ('xml', ''), ('xml', '.bin')])
def test_damaged_files_are_refused_or_run(onnx_file, dynamic_files, tmp_path, which, companion):
    path = onnx_file if which == 'onnx' else dynamic_files[1]
    files = damaged(path, tmp_path, 15, companion)
    done = subprocess.run(
        [sys.executable, '-c', READ, *map(str, files)],
        env=environment(), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    refused, ran = map(int, done.stdout.split()[-2:])
    assert refused + ran == 15 and refused >= 5  # those that are cut


def test_an_xml_without_its_weights_is_refused(dynamic_files, tmp_path):
    copy = tmp_path / 'a.xml'
    copy.write_bytes(dynamic_files[1].read_bytes())
    with pytest.raises(ModelFileError, match=r'a\.xml'):
        Detector(copy)
