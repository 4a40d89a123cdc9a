# SPDX-License-Identifier: Apache-2.0
"""A config and a checkpoint in the place of an exported file."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from mmdet.apis import inference_detector, init_detector

from mmdet_mobilenext.checkpoints.strict import CheckpointKeyError
from mmdet_mobilenext.datasets.generated_scenes import make_scene
from mmdet_mobilenext.demo.errors import DemoError
from mmdet_mobilenext.demo.load import load_detector
from mmdet_mobilenext.engine.config import load_config
from mmdet_mobilenext.engine.model_checks import build_model

CLASSES = tuple('abcdefgh')


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory, configs):
    config = str(configs / 'ssdlite_mobilenext_demo.py')
    torch.manual_seed(0)
    model = build_model(load_config(config))
    for layer in model.bbox_head.cls_convs:  # scores that differ
        torch.nn.init.normal_(layer[-1].weight, std=0.5)
    path = tmp_path_factory.mktemp('checkpoint') / 'model.pth'
    meta = dict(dataset_meta=dict(classes=CLASSES))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return config, str(path)


def test_it_finds_what_mmdet_finds(checkpoint, tmp_path):
    scene = make_scene(np.random.default_rng(0), (120, 160), False).image.astype(np.uint8)
    cv2.imwrite(str(tmp_path / 'a.png'), scene)
    config, weights = checkpoint
    detector = load_detector(weights, config)
    assert detector.classes == CLASSES
    wanted = inference_detector(
        init_detector(config, weights, device='cpu'), str(tmp_path / 'a.png')
    ).pred_instances
    found = detector(scene)
    order = wanted.scores.argsort(descending=True, stable=True)
    assert len(found) == len(wanted) > 0
    np.testing.assert_allclose(found.boxes, wanted.bboxes[order], atol=1e-3)
    np.testing.assert_allclose(found.scores, wanted.scores[order], atol=1e-6)
    np.testing.assert_array_equal(found.labels, wanted.labels[order])
    assert found.size == scene.shape[1::-1] and found.boxes.dtype == np.float32
    first, second = detector([scene, scene[:, ::-1].copy()])
    np.testing.assert_array_equal(first.boxes, found.boxes)
    assert second.size == found.size and not np.array_equal(second.boxes, found.boxes)


def test_names_come_from_the_config_where_the_checkpoint_has_none(checkpoint, tmp_path):
    config, weights = checkpoint
    content = torch.load(weights, weights_only=True)
    torch.save(dict(state_dict=content['state_dict']), tmp_path / 'bare.pth')
    names = load_detector(tmp_path / 'bare.pth', config).classes
    assert names == load_config(config).test_dataloader.dataset.metainfo.classes


def test_a_checkpoint_of_another_model_is_refused(checkpoint, tmp_path):
    config, weights = checkpoint
    content = torch.load(weights, weights_only=True)
    content['state_dict'].popitem()
    torch.save(content, tmp_path / 'short.pth')
    with pytest.raises(CheckpointKeyError):
        load_detector(tmp_path / 'short.pth', config)
    with pytest.raises(FileNotFoundError):
        load_detector(tmp_path / 'none.pth', config)


@pytest.mark.parametrize('device', ['nonsense', 'cuda:99', 'meta'])
def test_a_device_that_is_not_there_is_refused_before_loading(device):
    with pytest.raises(DemoError, match=f"device '{device}' cannot be used here: ."):
        load_detector('not_looked_for.pth', 'not_looked_for.py', device=device)
