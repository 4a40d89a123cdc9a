# SPDX-License-Identifier: Apache-2.0
import copy
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest
from colour_detector import CLASSES, SIDE, write_detector, write_images
from mmengine.config import Config

from mmdet_mobilenext.checksum import sha256_of
from mmdet_mobilenext.datasets.checks import DataCheckError
from mmdet_mobilenext.engine.config import load_config
from mmdet_mobilenext.engine.test_exported import test_exported as run_tool_test
from mmdet_mobilenext.export import ExportError, packages
from mmdet_mobilenext.export.openvino_file import write_openvino
from mmdet_mobilenext.export.quantization import (
    AccuracyDropError,
    QuantizationOptions,
    quantize,
)
from mmdet_mobilenext.export.quantization.calibration import calibration_images
from mmdet_mobilenext.export.quantization.validation import Validation
from mmdet_mobilenext.runtime import Detector, ImageError

ROOT = Path(__file__).resolve().parents[2]
NAMES = ['backbone.conv1', 'backbone.conv2', 'backbone.dw', 'head.cls_convs.0']


def make_config(root: Path) -> Config:
    size = (SIDE, SIDE)
    loading = dict(type='LoadImageFromFile')
    keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
    pipeline = [
        loading,
        dict(type='Resize', scale=size, keep_ratio=False),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='PackDetInputs', meta_keys=keys),
    ]

    def loader(split: str) -> dict:
        return dict(
            batch_size=4,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(
                type='XMLDataset',
                data_root=str(root),
                metainfo=dict(classes=CLASSES),
                ann_file=f'VOC2007/ImageSets/Main/{split}.txt',
                data_prefix=dict(sub_data_root='VOC2007/'),
                test_mode=split != 'train',
                pipeline=pipeline,
            ),
        )

    metric = dict(type='VOCMetric', metric='mAP', eval_mode='11points')
    return Config(
        dict(
            default_scope='mmdet',
            model=dict(test_cfg=dict(score_thr=0.01, nms=dict(iou_threshold=0.45))),
            train_dataloader=loader('train'),
            val_dataloader=loader('val'),
            test_dataloader=loader('test'),
            val_evaluator=metric,
            test_evaluator=metric,
            val_cfg=dict(type='ValLoop'),
            test_cfg=dict(type='TestLoop'),
            work_dir=str(root / 'work'),
        )
    )


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp('colours'))


@pytest.fixture
def cfg(data):
    return make_config(data)


@pytest.fixture(params=['onnx', 'xml'])
def make_file(request, tmp_path):
    def make(name: str = 'float', **options) -> Path:
        path = write_detector(tmp_path / f'{name}.onnx', **options)
        if request.param == 'xml':
            spec = Detector(path).spec
            write_openvino(path, spec, path.with_suffix('.xml'))
            path.unlink()
        return path.with_suffix(f'.{request.param}')

    return make


def leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith('float.'))


def test_int8_file_with_record(make_file, cfg, tmp_path):
    source = make_file()
    out = tmp_path / f'int8{source.suffix}'
    done = quantize(source, cfg, out, QuantizationOptions(num_images=5))
    detector = Detector(out)
    record = detector.spec.provenance['quantization']
    assert detector.spec.precision == 'int8'
    assert record['calibration']['images'] == 5
    assert record['calibration']['set'] == 'VOC2007/ImageSets/Main/train'
    assert record['calibration']['method'] == 'minmax'
    assert record['map'] == dict(before=100.0, after=100.0)
    assert record['float_sha256'] == sha256_of(source)
    assert record['float_layers'] == []
    assert done.num_convolutions == len(NAMES)
    assert '4 of 4 convolutions in int8' in str(done)
    # the same classes as in float, in images that it was not calibrated with
    for number in range(4):
        image = Path(cfg.val_dataloader.dataset.data_root, f'VOC2007/JPEGImages/val{number}.jpg')
        assert detector(image).labels[0] == Detector(source)(image).labels[0] == number % 2


@pytest.mark.parametrize('make_file', ['xml'], indirect=True)
def test_only_the_logger_of_nncf_is_made_quiet(make_file, cfg, tmp_path):
    """A handler that hangs there may be everybody's, as pytest's is."""
    logger, handler = logging.getLogger('nncf'), logging.StreamHandler()
    logger.addHandler(handler)
    try:
        quantize(make_file(), cfg, tmp_path / 'int8.xml', QuantizationOptions(num_images=2))
    finally:
        logger.removeHandler(handler)
    assert handler.level == logging.NOTSET and logger.level == logging.ERROR


def test_accuracy_is_that_of_the_test_tool(make_file, cfg):
    source = make_file(trap=3000.0)
    run_cfg = copy.deepcopy(cfg)
    run_cfg.test_dataloader = run_cfg.val_dataloader
    for part in ('train_dataloader', 'val_dataloader', 'val_cfg', 'val_evaluator'):
        run_cfg.pop(part)
    found = run_tool_test(run_cfg, source, threads=1)
    assert Validation(cfg, source)(Detector(source)) == pytest.approx(
        100 * found['pascal_voc/mAP'], abs=0.1
    )


def test_guard_refuses_what_loses_too_much(make_file, cfg, tmp_path):
    source = make_file(trap=3000.0)
    out = tmp_path / f'int8{source.suffix}'
    with pytest.raises(AccuracyDropError, match=r'points of mAP \(100\.00 before.*--max-drop'):
        quantize(source, cfg, out, QuantizationOptions(num_images=4))
    assert leftovers(tmp_path) == []
    done = quantize(source, cfg, out, QuantizationOptions(num_images=4, allow_drop=True))
    record = Detector(out).spec.provenance['quantization']
    assert record['map']['after'] < 90
    assert any('larger than' in warning for warning in record['warnings'])
    assert 'warning: the loss of' in str(done)


def test_layers_that_are_kept_are_in_float(make_file, cfg, tmp_path):
    source = make_file(trap=3000.0)
    out = tmp_path / f'int8{source.suffix}'
    options = QuantizationOptions(num_images=4, keep_float=['backbone.conv*'])
    done = quantize(source, cfg, out, options)
    assert done.record['float_layers'] == NAMES[:2]
    assert done.record['map']['after'] == 100
    # also one between two that are in int8
    options = QuantizationOptions(num_images=4, keep_float=['backbone.dw'], allow_drop=True)
    done = quantize(source, cfg, tmp_path / f'dw{source.suffix}', options)
    assert done.record['float_layers'] == ['backbone.dw']
    if source.suffix == '.onnx':
        model = onnx.load(out)
        dequantised = {n.output[0] for n in model.graph.node if n.op_type == 'DequantizeLinear'}
        in_float = [
            n.name
            for n in model.graph.node
            if n.op_type == 'Conv' and not dequantised.intersection(n.input[1:2])
        ]
        assert in_float == NAMES[:2]


def test_all_layers_in_float_is_refused(make_file, cfg, tmp_path):
    source = make_file()
    options = QuantizationOptions(num_images=2, keep_float=['backbone*', 'head*'])
    with pytest.raises(ExportError, match=r'--keep-float backbone\* head\* keeps all 4 convolut'):
        quantize(source, cfg, tmp_path / f'int8{source.suffix}', options)
    assert leftovers(tmp_path) == []


def test_search_finds_layers_to_keep(make_file, cfg, tmp_path):
    source = make_file(trap=3000.0)
    out = tmp_path / f'int8{source.suffix}'
    done = quantize(source, cfg, out, QuantizationOptions(num_images=4, search=True))
    assert done.record['map']['after'] == 100
    assert done.record['float_layers']
    assert done.record['searched']


def test_search_does_not_choose_on_the_test_set(make_file, cfg, tmp_path):
    source = make_file()
    cfg.val_dataloader = copy.deepcopy(cfg.test_dataloader)
    out = tmp_path / f'int8{source.suffix}'
    for changes in (dict(), dict(indices=2), dict(filter_cfg=dict(min_size=2), test_mode=False)):
        cfg.val_dataloader.dataset.update(changes)
        with pytest.raises(ExportError, match='are its test data'):
            quantize(source, cfg, out, QuantizationOptions(search=True))
    cfg.val_dataloader = cfg.test_dataloader
    if source.suffix == '.onnx':
        done = quantize(source, cfg, out, QuantizationOptions(num_images=9))
        assert 'do not choose' in done.notes[0]
        assert done.notes[1] == 'the training set has 8 images, and no more'
        assert Detector(out).spec.provenance['quantization']['warnings'] == list(done.notes)


@pytest.mark.parametrize('method', ['percentile', 'entropy'])
def test_methods_of_onnx(cfg, tmp_path, method):
    source = write_detector(tmp_path / 'float.onnx')
    options = QuantizationOptions(num_images=6, method=method, max_drop=50)
    done = quantize(source, cfg, tmp_path / 'int8.onnx', options)
    assert done.record['calibration']['method'] == method
    assert done.record['float_layers'] == []


def test_method_of_another_format(make_file, cfg, tmp_path):
    source = make_file()
    with pytest.raises(ExportError, match=r"calibrated with one of .*'max'"):
        quantize(source, cfg, tmp_path / f'o{source.suffix}', QuantizationOptions(method='max'))


def test_bias_correction_that_onnx_has_not(cfg, tmp_path):
    source = write_detector(tmp_path / 'float.onnx')
    with pytest.raises(ExportError, match='leave --bias-correction away'):
        quantize(source, cfg, tmp_path / 'o.onnx', QuantizationOptions(bias_correction='full'))


def test_names_that_are_not_there(make_file, cfg, tmp_path):
    source = make_file()
    options = QuantizationOptions(keep_float=['neck.*'])
    with pytest.raises(ExportError, match=r"no convolution is called 'neck\.\*'; there are back"):
        quantize(source, cfg, tmp_path / f'int8{source.suffix}', options)


def test_formats_and_files_that_do_not_fit(cfg, tmp_path):
    source = write_detector(tmp_path / 'float.onnx')
    with pytest.raises(ExportError, match='each to a file of its own format'):
        quantize(source, cfg, tmp_path / 'int8.xml')
    with pytest.raises(FileExistsError, match='--force'):
        quantize(source, cfg, source)
    with pytest.raises(ExportError, match='is the file in float itself'):
        quantize(source, cfg, source, force=True)
    with pytest.raises(FileNotFoundError, match='no exported model'):
        quantize(tmp_path / 'none.onnx', cfg, tmp_path / 'int8.onnx')
    again = write_detector(tmp_path / 'float.int8.onnx', precision='int8')
    with pytest.raises(ExportError, match='int8 already'):
        quantize(again, cfg, tmp_path / 'int8.onnx')


def test_missing_packages_are_named(make_file, cfg, tmp_path, monkeypatch):
    source = make_file()
    monkeypatch.setattr(packages, 'find_spec', lambda name: None)
    with pytest.raises(ExportError, match=r'int8 in \w+ needs \w+, \w+: `pip install .*\[export\]'):
        quantize(source, cfg, tmp_path / f'int8{source.suffix}')


def test_calibration_images(cfg, tmp_path):
    detector = Detector(write_detector(tmp_path / 'float.onnx'))
    few = calibration_images(cfg, detector, 3, seed=0)
    assert len(set(few.paths)) == 3 and few.paths == calibration_images(cfg, detector, 3, 0).paths
    assert few.paths != calibration_images(cfg, detector, 3, seed=1).paths
    assert all('train' in path for path in few.paths)
    assert next(iter(few)).shape == (1, SIDE, SIDE, 3)
    repeated = dict(type='RepeatDataset', times=3, dataset=cfg.train_dataloader.dataset)
    cfg.train_dataloader.dataset = repeated
    every = calibration_images(cfg, detector, 300, seed=0)
    assert len(every.paths) == len(set(every.paths)) == 8


def test_empty_missing_and_damaged_calibration_sets(tmp_path):
    root = write_images(tmp_path / 'data')
    source = write_detector(tmp_path / 'float.onnx')
    out = tmp_path / 'int8.onnx'
    folder = root / 'VOC2007'
    image = folder / 'JPEGImages/train3.jpg'
    content = image.read_bytes()
    image.write_bytes(content[: len(content) // 2])
    with pytest.raises((DataCheckError, ImageError), match='train3'):
        quantize(source, make_config(root), out)
    image.unlink()
    with pytest.raises(DataCheckError, match='train3'):
        quantize(source, make_config(root), out)
    (folder / 'ImageSets/Main/train.txt').write_text('')
    with pytest.raises((DataCheckError, ExportError), match='empty'):
        quantize(source, make_config(root), out)
    cfg = make_config(root)
    cfg.pop('train_dataloader')
    with pytest.raises(ExportError, match='train_dataloader'):
        quantize(source, cfg, out)
    assert not out.exists()


@pytest.mark.parametrize(
    'options', [dict(num_images=0), dict(max_drop=-1), dict(seed=-1), dict(bias_correction='some')]
)
def test_options_that_cannot_be(options):
    with pytest.raises(ExportError, match='but received'):
        QuantizationOptions(**options)


@pytest.mark.slow
def test_killed_run_leaves_no_file(data, tmp_path):
    write_detector(tmp_path / 'float.onnx')
    config = tmp_path / 'config.py'
    make_config(data).dump(config)
    out = tmp_path / 'out' / 'int8.onnx'
    command = [sys.executable, ROOT / 'tools/quantize.py', tmp_path / 'float.onnx', config, out]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    process = subprocess.Popen([*map(str, command)], env=environment)
    while process.poll() is None and not list(out.parent.glob('.int8.onnx.*/*')):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL
    assert not out.exists() and list(out.parent.iterdir())
    done = subprocess.run([*map(str, command)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f'wrote {out}' in done.stdout
    assert list(out.parent.iterdir()) == [out]  # the next run clears up
    assert load_config(str(config)).model  # and the tool has changed nothing
    json.dumps(Detector(out).spec.provenance)
