# SPDX-License-Identifier: Apache-2.0
"""Exporting to ncnn: the same boxes and scores as in PyTorch, and nothing beside the files."""

from dataclasses import replace

import numpy as np
import pnnx
import pytest
import torch
from small_ncnn import make_checkpoint
from torch import nn

from mmdet_mobilenext.export import ExportError, deployable, export
from mmdet_mobilenext.export.ncnn_file import named_blobs, write_ncnn
from mmdet_mobilenext.runtime import Detector

SIGMOID = {
    'model.bbox_head.loss_cls.type': 'FocalLoss',
    'model.bbox_head.loss_cls.use_sigmoid': True,
    'model.train_cfg.neg_pos_ratio': None,
}


@pytest.fixture(scope='module')
def exported(configs, tmp_path_factory):
    """Config, checkpoint and file of a MobileNeXt with softmax."""
    folder = tmp_path_factory.mktemp('ncnn')
    config = configs / 'ssdlite_mobilenext_demo.py'
    checkpoint = make_checkpoint(config, folder / 'epoch_12.pth')
    out = folder / 'out' / 'small.v1.param'
    return config, checkpoint, export(str(config), str(checkpoint), out)


def noise(number, size):
    coarse = np.random.default_rng(1).integers(0, 256, (number, 3, 9, 9)).astype(np.float32)
    fine = nn.functional.interpolate(torch.from_numpy(coarse), size[::-1], mode='bilinear')
    return fine.round().byte().permute(0, 2, 3, 1).contiguous().numpy()


def assert_same(network, path):
    detector = Detector(path, threads=1)
    images = noise(2, detector.size)
    with torch.no_grad():
        boxes, scores = network(torch.from_numpy(images))
    assert scores.std() > 0.03, 'scores that are all the same show nothing'
    found = detector._backend(images)
    np.testing.assert_allclose(found[0], boxes.numpy(), atol=0.01)
    np.testing.assert_allclose(found[1], scores.numpy(), atol=1e-4)


def test_boxes_and_scores_are_those_of_pytorch(exported):
    config, checkpoint, path = exported
    assert_same(deployable(str(config), str(checkpoint), kind='raw').network, path)


def test_sigmoid_rgb_and_another_size(configs, tmp_path):
    config = configs / 'ssdlite_mobilenetv2_demo.py'
    checkpoint = make_checkpoint(config, tmp_path / 'epoch_12.pth', SIGMOID)
    ready = deployable(
        str(config), str(checkpoint), (160, 96), 'rgb', kind='raw', cfg_options=SIGMOID
    )
    write_ncnn(ready.network, ready.spec, tmp_path / 'other.param')
    assert_same(ready.network, tmp_path / 'other.param')
    detector = Detector(tmp_path / 'other.param')
    assert (detector.size, detector.spec.color) == ((160, 96), 'rgb')
    image = noise(1, (160, 96))[0]
    assert len(detector(image)) and np.array_equal(detector.prepare(image), image[..., ::-1])


def test_three_files_and_nothing_of_this_machine(exported):
    _, checkpoint, path = exported
    names = sorted(file.name for file in path.parent.iterdir())
    assert names == ['small.v1.bin', 'small.v1.json', 'small.v1.param']
    for file in path.parent.iterdir():
        content = file.read_bytes()
        assert b'pnnx.' not in content and str(checkpoint.parent).encode() not in content, file
    spec = Detector(path).spec
    assert spec.provenance['checkpoint'] == 'epoch_12.pth' and spec.batch == 1
    assert set(spec.provenance['sha256']) == {'param', 'bin'}


@pytest.mark.parametrize('batch', [None, 4])
def test_batches_are_refused(exported, tmp_path, batch):
    config, checkpoint, _ = exported
    with pytest.raises(ExportError, match='ncnn runs one image at a time: leave --dynamic-batch'):
        export(str(config), str(checkpoint), tmp_path / 'x.param', batch=batch)
    assert not list(tmp_path.iterdir())


def test_only_raw_files_of_one_image(exported, tmp_path):
    config, checkpoint, _ = exported
    ready = deployable(str(config), str(checkpoint), kind='raw')
    for change in (dict(kind='detections'), dict(batch=None)):
        with pytest.raises(ExportError, match='the kind must be raw and the batch 1'):
            write_ncnn(ready.network, replace(ready.spec, **change), tmp_path / 'x.param')


class Unknown(nn.Module):
    """Ends in what ncnn cannot: slices of step 2 that are written to."""

    def from_pixels(self, pixels):
        boxes = pixels[:, 0, :, :4] * 1.0
        boxes[..., 0::2].clamp_(0, 8)
        return boxes, pixels[:, 1, :, :2] * 2.0


def test_operators_that_ncnn_has_not_are_named(exported, tmp_path):
    spec = Detector(exported[2]).spec
    with pytest.raises(ExportError, match=r'ncnn has no operator Tensor\.slice'):
        write_ncnn(Unknown(), spec, tmp_path / 'x.param')
    assert not list(tmp_path.iterdir())


def test_a_pnnx_that_fails_is_quoted(exported, tmp_path, monkeypatch):
    spec = Detector(exported[2]).spec
    program = tmp_path / 'pnnx'
    program.write_text('#!/bin/sh\necho out of luck >&2\nexit 3\n')
    program.chmod(0o755)
    monkeypatch.setattr(pnnx, 'EXEC_PATH', str(program))
    with pytest.raises(ExportError, match=r'(?s)ended with code 3.*out of luck'):
        write_ncnn(Unknown(), spec, tmp_path / 'x.param')


def test_an_output_that_is_left_out_is_named():
    text = '7767517\n2 2\nInput in0 0 1 in0\nReLU relu 1 1 in0 out0\n'
    with pytest.raises(ExportError, match='pnnx has left out out1'):
        named_blobs(text, (8, 8))
