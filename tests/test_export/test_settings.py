# SPDX-License-Identifier: Apache-2.0
"""What a config asks for is done in the exported file in the same way, or refused."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from small_runtime_model import small_spec

from mmdet_mobilenext.export import ExportError
from mmdet_mobilenext.export.onnx_file import write_onnx
from mmdet_mobilenext.export.selection import WithSelection
from mmdet_mobilenext.export.settings import class_names, input_size, selection
from mmdet_mobilenext.runtime import Detector

LOAD, RESIZE, PACK = (
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(320, 240), keep_ratio=False),
    dict(type='mmdet.PackDetInputs', meta_keys=('img_id',)),
)


def config_of(*transforms):
    return Config(dict(test_dataloader=dict(dataset=dict(pipeline=list(transforms)))))


def test_usual_pipelines():
    labels = dict(type='LoadAnnotations', with_bbox=True)
    assert input_size(config_of(LOAD, RESIZE, labels, PACK)) == (320, 240)
    wrapped = dict(type='RepeatDataset', times=2, dataset=dict(pipeline=[LOAD, RESIZE, PACK]))
    assert input_size(Config(dict(test_dataloader=dict(dataset=wrapped)))) == (320, 240)


@pytest.mark.parametrize(
    ('transforms', 'said'),
    [
        ([], 'pipeline of the config is empty'),
        ([LOAD, PACK], 'is LoadImageFromFile, PackDetInputs'),
        ([LOAD, RESIZE, RESIZE, PACK], 'Resize, Resize'),
        ([LOAD, RESIZE, dict(type='Pad', size_divisor=32), PACK], 'Resize, Pad, PackDetInputs'),
        ([LOAD, RESIZE, dict(type='CenterCrop', crop_size=9), PACK], 'CenterCrop'),
        ([LOAD, {**RESIZE, 'keep_ratio': True}, PACK], "'keep_ratio': True"),
        ([LOAD, {**RESIZE, 'interpolation': 'nearest'}, PACK], "'interpolation': 'nearest'"),
        ([LOAD, {**RESIZE, 'backend': 'pillow'}, PACK], "'backend': 'pillow'"),
        ([LOAD, dict(type='Resize', scale_factor=0.5), PACK], "'scale_factor': 0.5"),
        ([{**LOAD, 'to_float32': True}, RESIZE, PACK], "with {'to_float32': True}"),
        ([{**LOAD, 'color_type': 'grayscale'}, RESIZE, PACK], "with {'color_type': 'grayscale'}"),
        ([{**LOAD, 'imdecode_backend': 'pillow'}, RESIZE, PACK], "'imdecode_backend': 'pillow'"),
    ],
)
def test_odd_pipelines_are_refused(transforms, said):
    with pytest.raises(ExportError, match=said):
        input_size(config_of(*transforms))


def test_thresholds_that_are_missing():
    for test_cfg in (None, {}, dict(max_per_img=100), dict(nms=dict(iou_threshold=0.5))):
        with pytest.raises(ExportError, match=r'model\.test_cfg has'):
            selection(Config(dict(model=dict(test_cfg=test_cfg))))


def test_class_names():
    data = dict(type='VOCDataset', metainfo=dict(classes=('cat',)))
    cfg = Config(dict(test_dataloader=dict(dataset=data)))
    assert class_names(cfg, None, 1) == ('cat',)
    # those of the checkpoint are those that it was trained with
    assert class_names(cfg, dict(dataset_meta=dict(classes=['dog'])), 1) == ('dog',)
    assert class_names(cfg, dict(dataset_meta=dict(classes='dog')), 1) == ('dog',)
    with pytest.raises(ExportError, match='the checkpoint names 2 classes, but the head has 1'):
        class_names(cfg, dict(dataset_meta=dict(classes=['dog', 'cat'])), 1)
    with pytest.raises(ExportError, match='names 0 classes, but the head has 1: give the names'):
        class_names(Config(), None, 1)


class Given(torch.nn.Module):
    """Boxes and scores behind the shifts of an image, so that there are graphs of both."""

    def __init__(self, boxes, scores):
        super().__init__()
        self.register_buffer('boxes', boxes)
        self.register_buffer('scores', scores)

    def forward(self, images):
        zero = 0 * images.float().mean((1, 2, 3))[:, None, None]
        return self.boxes + zero, self.scores + zero


def test_nms_in_onnx_is_that_of_pytorch(tmp_path):
    """Boxes of all sizes, also beyond the border, and an image in which there is nothing."""
    generator = torch.Generator().manual_seed(1)
    centres = torch.rand(3, 60, 2, generator=generator) * 80 - 10
    sides = torch.rand(3, 60, 2, generator=generator) * 40 + 5
    boxes = torch.cat([centres - sides / 2, centres + sides / 2], 2)
    scores = torch.rand(3, 60, 4, generator=generator) ** 3
    scores[1] = 0.01
    network = WithSelection(Given(boxes, scores), 0.05, 0.45, 20)
    images = torch.zeros(3, 4, 4, 3, dtype=torch.uint8)
    spec = small_spec(
        kind='detections', size=(4, 4), batch=3, classes=tuple('abcd'), score_thr=0.05
    )
    write_onnx(network, images, spec, tmp_path / 'a.onnx')
    wanted = [part.numpy() for part in network(images)]
    assert (wanted[1][0] > 0).all() and not wanted[1][1].any() and (wanted[2][1] == -1).all()
    for backend in ('onnxruntime', 'openvino'):
        found = Detector(tmp_path / 'a.onnx', backend, threads=1).run(images.numpy())
        for number, (box, score, label) in enumerate(found):
            count = int((wanted[1][number] > 0).sum())
            np.testing.assert_allclose(box, wanted[0][number, :count], rtol=1e-5)
            np.testing.assert_allclose(score, wanted[1][number, :count], rtol=1e-6)
            assert label.tolist() == wanted[2][number, :count].tolist()


def test_importing_twice_is_no_error():
    code = (
        'import sys\n'
        'import mmdet_mobilenext.export.selection\n'
        'for name in [n for n in sys.modules if n.startswith("mmdet_mobilenext")]:\n'
        '    del sys.modules[name]\n'
        'from mmdet_mobilenext.export.selection import WithSelection\n'
        'import torch\n'
        'boxes, scores = torch.tensor([[[0., 0., 9., 9.]]]), torch.tensor([[[0.9]]])\n'
        'print(WithSelection(lambda x: (boxes, scores), 0.1, 0.5, 1)(boxes)[2].tolist())'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stdout.strip().endswith('[[0]]'), done.stderr[-1000:]
