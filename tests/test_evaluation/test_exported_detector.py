# SPDX-License-Identifier: Apache-2.0
"""Exported files in the place of the model: the same predictions, and what is refused."""

from __future__ import annotations

import pickle
import re
import runpy

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from small_export import export_small
from small_voc import run_tool

from mmdet_mobilenext.engine import test_exported as exported
from mmdet_mobilenext.engine.config import load_config
from mmdet_mobilenext.engine.environment import OptionError
from mmdet_mobilenext.engine.test import test as evaluate_checkpoint
from mmdet_mobilenext.evaluation import ExportedDetector
from mmdet_mobilenext.export import ExportError
from mmdet_mobilenext.runtime import Detector, ImageError, ModelFileError

TEST_IMAGES, VAL_IMAGES = 7, 3


@pytest.fixture(scope='module')
def other(small_onnx, small_detector):
    """Another size and the other order of channels, without NMS, for any number of images."""
    options = dict(size=(160, 96), color='rgb', batch=None, with_nms=False, score_thr=0.2)
    return export_small(small_detector, 'other.onnx', **options)


@pytest.fixture
def cfg(small_detector, tmp_path):
    return load_config(small_detector[0], work_dir=str(tmp_path / 'work'))


@pytest.fixture(scope='module')
def expected(small_detector, tmp_path_factory):
    """Metrics and predictions of the checkpoint."""
    folder = tmp_path_factory.mktemp('checkpoint')
    cfg, out = load_config(small_detector[0], work_dir=str(folder)), folder / 'out.pkl'
    return evaluate_checkpoint(cfg, small_detector[1], str(out)), pickle.loads(out.read_bytes())


def found_in(result: dict) -> tuple[np.ndarray, ...]:
    """Boxes, scores and labels of an image of ``--out``."""
    found = result['pred_instances']
    return tuple(np.asarray(found[key]) for key in ('bboxes', 'scores', 'labels'))


def assert_same(results: list[dict], wanted: list[dict]) -> None:
    """The same detections, but for rounding: best first those of equal score may change places."""
    assert [r['img_path'] for r in results] == [r['img_path'] for r in wanted]
    for result, want in zip(results, wanted, strict=True):
        boxes, scores, labels = found_in(result)
        assert len(scores) and result['ori_shape'] == want['ori_shape']
        for box, score, label in zip(*found_in(want), strict=True):
            if score > scores.min() + 1e-3:
                same = (labels == label) & (abs(scores - score) < 1e-3)
                assert same.any() and abs(boxes[same] - box).max(1).min() < 0.5
        assert abs(len(scores) - len(found_in(want)[1])) <= 1


@pytest.mark.parametrize('backend', [None, 'openvino'])
def test_finds_what_the_checkpoint_finds(small_onnx, cfg, expected, tmp_path, backend):
    if backend is not None:
        pytest.importorskip(backend)
    before, out = cfg.pretty_text, tmp_path / 'out.pkl'
    metrics = exported.test_exported(cfg, small_onnx, backend, out=str(out))
    assert metrics == pytest.approx(expected[0], abs=1e-3)
    assert_same(pickle.loads(out.read_bytes()), expected[1])
    assert len(expected[1]) == TEST_IMAGES
    assert cfg.pretty_text == before


def test_other_size_order_and_kind_as_the_runtime_alone(other, cfg, tmp_path):
    out = tmp_path / 'out.pkl'
    exported.test_exported(cfg, other, out=str(out))
    results, runtime = pickle.loads(out.read_bytes()), Detector(other)
    assert len(results) == TEST_IMAGES
    for result in results:
        boxes, scores, labels = runtime(result['img_path'])
        ours = found_in(result)
        assert len(scores) and (labels == ours[2]).all()
        np.testing.assert_allclose(ours[0], boxes, atol=1e-2)
        np.testing.assert_allclose(ours[1], scores, atol=1e-5)
    log = next((tmp_path / 'work').glob('*/*.log')).read_text()
    assert 'exported for 160x96: images are resized to that, not to 128x128' in log
    assert re.search(r'other thresholds than the config has: score_thr 0\.2 instead of 0\.01', log)
    assert re.search(r'test 7 images \| \S+other\.onnx \(float32, 160x96\) \| \d+ threads', log)


def test_validation_data_and_pictures(small_onnx, cfg, tmp_path):
    out, pictures = tmp_path / 'out.pkl', tmp_path / 'pictures'
    exported.test_exported(cfg, small_onnx, out=str(out), show_dir=str(pictures), role='val')
    results = pickle.loads(out.read_bytes())
    names = (cfg.data_root + '/VOC2007/ImageSets/Main/val.txt', 'VOC2007')
    with open(names[0], encoding='utf-8') as file:
        assert [r['img_id'] for r in results] == file.read().split()
    assert len(results) == len(list(pictures.glob('*'))) == VAL_IMAGES


def test_averaging_of_weights_is_left_out(small_onnx, cfg):
    cfg.default_hooks.ema = dict(type='EMAHook')
    cfg.custom_hooks = [dict(type='EMAHook'), dict(type='EmptyCacheHook')]
    changed, notes = exported.exported_config(cfg, small_onnx)
    assert 'ema' not in changed.default_hooks and notes == []
    assert [hook.type for hook in changed.custom_hooks] == ['EmptyCacheHook']


def set_classes(names):
    def change(cfg):
        cfg.test_dataloader.dataset.metainfo = dict(classes=names)

    return change


def set_pipeline(**changes):
    def change(cfg):
        for index, options in changes.items():
            cfg.test_dataloader.dataset.pipeline[int(index[1:])].update(options)

    return change


def add_pad(cfg):
    cfg.test_dataloader.dataset.pipeline.insert(2, dict(type='Pad', size_divisor=32))


GENERATED = ('aeroplane', 'bicycle', 'boat', 'bottle', 'car', 'chair', 'person', 'tvmonitor')


@pytest.mark.parametrize(
    ('change', 'error', 'told'),
    [
        (set_classes(GENERATED[::-1]), OptionError, 'classes in another order .*tvmonitor, person'),
        (set_classes(('cat',)), OptionError, r'other classes than .* 8 \(aeroplane.* 1 \(cat\)'),
        (add_pad, ExportError, 'nothing else to it, .*Pad'),
        (set_pipeline(_1=dict(keep_ratio=True)), ExportError, 'keep_ratio'),
        (set_pipeline(_0=dict(to_float32=True)), ExportError, 'to_float32'),
        (set_pipeline(_0=dict(color_type='grayscale')), ExportError, 'color_type'),
        (lambda cfg: cfg.pop('test_evaluator'), OptionError, 'no test_evaluator'),
        (lambda cfg: cfg.update(test_evaluator=None), OptionError, 'no test_evaluator'),
        (lambda cfg: cfg.update(test_dataloader=None), OptionError, 'no test_dataloader'),
    ],
)
def test_data_and_pipeline_that_do_not_fit(small_onnx, cfg, change, error, told, tmp_path):
    change(cfg)
    with pytest.raises(error, match=told):
        exported.test_exported(cfg, small_onnx)
    assert not (tmp_path / 'work').exists()


@pytest.mark.parametrize(
    ('options', 'error', 'told'),
    [
        (dict(tta=True), OptionError, '--tta cannot be done with'),
        (dict(threads=0), OptionError, '--threads must be at least 1, but received 0'),
        (dict(role='train'), OptionError, "'train'"),
        (dict(out='a.json'), OptionError, r'a\.json'),
        (dict(backend='ncnn'), ModelFileError, r'cannot be run by ncnn, which takes \.param'),
        (dict(backend='tensorrt'), ValueError, 'tensorrt'),
    ],
)
def test_options_that_do_not_fit(small_onnx, cfg, options, error, told, tmp_path):
    with pytest.raises(error, match=told):
        exported.test_exported(cfg, small_onnx, **options)
    assert not (tmp_path / 'work').exists()


def test_files_that_do_not_fit(small_detector, cfg, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nothing\.onnx'):
        exported.test_exported(cfg, 'nothing.onnx')
    (tmp_path / 'bad.onnx').write_bytes(b'no model')
    with pytest.raises(ModelFileError, match=r'bad\.onnx'):
        exported.test_exported(cfg, tmp_path / 'bad.onnx')
    with pytest.raises(ModelFileError, match=r'weights\.pth cannot be run by onnxruntime'):
        exported.test_exported(cfg, small_detector[1], 'onnxruntime')


def test_images_of_another_size_are_refused(small_onnx):
    model = ExportedDetector(small_onnx, threads=1)
    with pytest.raises(ImageError, match=r'uint8 \(N, 128, 128, 3\), .* uint8 \(1, 64, 64, 3\)'):
        model([torch.zeros(3, 64, 64, dtype=torch.uint8)], [DetDataSample()])
    with pytest.raises(RuntimeError, match="mode='loss'"):
        model([], [], mode='loss')


def test_tool_with_two_processes(small_detector, small_onnx, expected, tmp_path):
    out = tmp_path / 'out.pkl'
    done = run_tool(
        'dist_test.sh', small_detector[0], small_onnx, 2, '--work-dir', tmp_path, '--out', out,
        '--threads', 1,
    )  # fmt: skip
    assert_same(pickle.loads(out.read_bytes()), expected[1])
    value = re.findall(r'pascal_voc/mAP: ([\d.]+)', done.stdout + done.stderr)[-1]
    assert float(value) == pytest.approx(expected[0]['pascal_voc/mAP'], abs=1e-3)


def test_tool_tells_what_is_wrong(root, small_detector, small_onnx, monkeypatch, capsys):
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.setattr('sys.argv', ['test.py', small_detector[0], small_onnx, '--tta'])
    with pytest.raises(SystemExit, match='1'):
        runpy.run_path(str(root / 'tools' / 'test.py'), run_name='__main__')
    assert 'OptionError: --tta cannot be done with' in capsys.readouterr().err
