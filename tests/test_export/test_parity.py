# SPDX-License-Identifier: Apache-2.0
"""The comparison of files with PyTorch tells what differs."""

from types import SimpleNamespace

import numpy as np
import pytest
from small_voc import make_small_voc, run_tool

from mmdet_mobilenext.engine.config import load_config
from mmdet_mobilenext.export import ExportError, deployable, parity
from mmdet_mobilenext.export.parity import Comparison, compare_files, pair_detections
from mmdet_mobilenext.export.parity_command import verdict


def found(*rows):
    """Detections of (x, score, label): boxes of 10 pixels at x."""
    x, scores, labels = (np.array(values) for values in zip(*rows, strict=True))
    boxes = np.stack([x, np.zeros(len(x)), x + 10, np.full(len(x), 10.0)], 1)
    return boxes.astype(np.float32), scores.astype(np.float32), labels


NOTHING = (np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


def test_pairs_are_one_to_one_and_of_a_class():
    one = found((0, 0.9, 1), (3, 0.8, 1), (50, 0.7, 2))
    two = found((2, 0.8, 1), (0, 0.9, 1), (50, 0.7, 3))
    # greedy by score would give (0, 0) to the first
    assert pair_detections(one, two, 0.05) == ([(0, 1), (1, 0)], [2], [2])
    assert pair_detections(one, NOTHING, 0.05) == ([], [0, 1, 2], [])
    assert pair_detections(NOTHING, NOTHING, 0.05) == ([], [], [])


def test_a_score_at_the_threshold_needs_no_luck():
    above, below, far = (found((0, score, 1)) for score in (0.5001, 0.4999, 0.498))
    assert pair_detections(above, below, 0.5) == ([(0, 0)], [], [])
    assert pair_detections(below, above, 0.5) == ([(0, 0)], [], [])
    assert pair_detections(below, below, 0.5) == ([], [], [])
    assert pair_detections(above, far, 0.5) == ([], [0], [])


def test_what_is_counted():
    row = Comparison('a.onnx', 'onnxruntime', 1, 0.05)
    wanted = found((0, 0.9, 1), (30, 0.9, 1), (60, 0.9, 1), (90, 0.9, 1))
    row.add('a.jpg', wanted, found((0.4, 0.9, 1), (30.6, 0.9, 1), (60, 0.902, 1), (200, 0.9, 1)))
    assert (row.images, row.detections, row.agreeing) == (1, 5, 1)
    assert (row.only_eager, row.only_file) == (1, 1)
    assert row.max_box_difference == pytest.approx(0.6, abs=1e-5)
    assert row.max_score_difference == pytest.approx(0.002, abs=1e-5)
    assert [sorted(example) for example in row.examples] == [
        ['eager', 'file', 'image'],
        ['eager', 'file', 'image'],
        ['eager', 'image'],
        ['file', 'image'],
    ]


@pytest.mark.parametrize(
    ('agreeing', 'file', 'passes'),
    [(1000, 0.5, True), (999, 0.499, True), (998, 0.5, False), (1000, 0.498, False)],
)
def test_verdict(agreeing, file, passes):
    row = Comparison('a.onnx', 'openvino', 8, 0.05, detections=1000, agreeing=agreeing)
    row.eager, row.file = {'voc/mAP': 0.5}, {'voc/mAP': file}
    assert row.passes is passes
    assert verdict([row]).startswith('PASS: 1 of 1' if passes else 'FAIL: a.onnx (openvino, batch')
    assert not Comparison('a.onnx', 'openvino', 8, 0.05).passes


@pytest.fixture(scope='module')
def voc(tmp_path_factory):
    return make_small_voc(tmp_path_factory.mktemp('parity') / 'voc', test=5)


@pytest.fixture(scope='module')
def demo(configs, voc, tmp_path_factory):
    """The config, a checkpoint of random weights, and its network in the place of a file."""
    from random_detectors import random_detector, save_checkpoint

    name = str(configs / 'ssdlite_mobilenext_demo.py')
    cfg = load_config(name, dict(data_root=str(voc)))
    model = random_detector(cfg)
    checkpoint = save_checkpoint(model, tmp_path_factory.mktemp('weights') / 'a.pth')
    return name, cfg, checkpoint, deployable(name, checkpoint)


def stand_in(monkeypatch, ready, batch, shift=0.0):
    """What a file finds, without an exporter: the network itself runs."""
    import torch

    from mmdet_mobilenext.export.selection import select_detections

    sizes = []

    class Network:
        detector = SimpleNamespace(spec=SimpleNamespace(batch=batch), backend='onnxruntime')

        def __init__(self, *_):
            pass

        def test_step(self, data):
            from mmdet.structures.bbox import scale_boxes
            from mmengine.structures import InstanceData

            sizes.append(len(data['inputs']))
            images = torch.stack(data['inputs']).permute(0, 2, 3, 1)
            boxes, scores = ready.network(images)
            spec = ready.spec
            outputs = select_detections(
                boxes, scores, spec.score_thr, spec.iou_thr, spec.max_per_img
            )
            for sample, box, score, label in zip(data['data_samples'], *outputs, strict=True):
                factor = [1 / value for value in sample.scale_factor]
                keep = score > 0
                sample.pred_instances = InstanceData(
                    bboxes=scale_boxes(box[keep].clone(), factor) + shift,
                    scores=score[keep],
                    labels=label[keep],
                )
            return data['data_samples']

    monkeypatch.setattr(parity, 'ExportedDetector', Network)
    monkeypatch.setattr(parity, 'exported_config', lambda *_: (None, []))
    monkeypatch.setattr(parity, 'sha256_of', lambda _: '0')
    return sizes


def test_the_same_network_passes_in_every_batch(demo, monkeypatch):
    _, cfg, checkpoint, ready = demo
    sizes = stand_in(monkeypatch, ready, batch=None)
    rows = compare_files(cfg, checkpoint, [('a.onnx', None)], 4, (1, 3))
    assert sizes == [1, 1, 1, 1, 3, 2]  # the set has five
    assert [(row.batch, row.images) for row in rows] == [(1, 4), (3, 5)]
    for row in rows:
        assert row.detections > 50 and row.share > 0.97 and row.metric_difference <= 0.001
        assert 'pascal_voc/mAP' in row.eager


def test_another_network_fails(demo, monkeypatch):
    _, cfg, checkpoint, ready = demo
    stand_in(monkeypatch, ready, batch=2, shift=0.7)
    (row,) = compare_files(cfg, checkpoint, [('a.onnx', None)], 5)
    assert row.batch == 2 and row.share < 0.05 and not row.passes
    assert 0.6 < row.max_box_difference < 2 and len(row.examples) == 10


def test_what_cannot_be_compared(demo, tmp_path):
    name, cfg, checkpoint, _ = demo
    with pytest.raises(ExportError, match='must be at least 1, but received 0'):
        compare_files(cfg, checkpoint, [('a.onnx', None)], 0)
    done = run_tool(
        'analysis/export_parity.py', name, checkpoint, '--models', tmp_path / 'none.onnx',
        '--cfg-options', f'data_root={cfg.data_root}', check=False,
    )  # fmt: skip
    assert done.returncode == 1 and 'FileNotFoundError: no exported model' in done.stderr
