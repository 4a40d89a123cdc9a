# SPDX-License-Identifier: Apache-2.0
"""Weights that are given away: what is kept, which set, which classes."""

import hashlib
import os
import subprocess
import sys

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from small_voc import ROOT, run_tool

from mmdet_mobilenext.checkpoints.class_rows import CLASS_SETS, select_classes
from mmdet_mobilenext.checkpoints.publish import publish_checkpoint
from mmdet_mobilenext.checkpoints.safe_loading import UnsafeCheckpointError
from mmdet_mobilenext.checkpoints.targets import build_ssdlite_detector

COCO, VOC = list(CLASS_SETS['coco']), list(CLASS_SETS['voc'])


@pytest.fixture(scope='module', params=['mobilenext', 'mobilenetv2'])
def coco_detector(request):
    torch.manual_seed(0)
    return request.param, build_ssdlite_detector(request.param, 80).eval()


def checkpoint_file(path, weights, **parts):
    meta = dict(
        dataset_meta=dict(classes=tuple(COCO)), epoch=3, iter=10, env_info='/home/someone', seed=0,
        cfg="data_root = '/home/someone/VOCdevkit'",
    )  # fmt: skip
    torch.save(dict(meta=meta, state_dict=weights, optimizer=dict(state={}), **parts), path)
    return path


@torch.inference_mode()
def test_scores_of_the_kept_classes_are_those_of_coco(coco_detector, tmp_path):
    name, coco = coco_detector
    source = checkpoint_file(tmp_path / 'coco.pth', coco.state_dict())
    path = publish_checkpoint(source, tmp_path / 'voc.pth', classes=VOC)
    voc = build_ssdlite_detector(name, 20).eval()
    voc.load_state_dict(torch.load(path)['state_dict'], strict=True)
    images = torch.rand(1, 3, 320, 320)
    scores, boxes = voc.bbox_head(voc.extract_feat(images))
    all_scores, all_boxes = coco.bbox_head(coco.extract_feat(images))
    rows = [COCO.index(c) for c in (
        'airplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow',
        'dining table', 'dog', 'horse', 'motorcycle', 'person', 'potted plant', 'sheep', 'couch',
        'train', 'tv',
    )]  # fmt: skip
    for level, expected in zip(scores, all_scores, strict=True):
        per_prior = expected.unflatten(1, (-1, 81))[:, :, [*rows, 80]]
        torch.testing.assert_close(level, per_prior.flatten(1, 2))
    for level, expected in zip(boxes, all_boxes, strict=True):
        assert torch.equal(level, expected)


@torch.inference_mode()
def test_scores_without_background_keep_their_rows(configs):
    """A detector of the focal loss, with other priors on the last level."""
    coco, voc = (
        MODELS.build(Config.fromfile(configs / f'ssdlite_mobilenetv2_{name}.py').model.bbox_head)
        for name in ('coco', 'coco2voc')
    )
    weights = {f'bbox_head.{k}': v for k, v in coco.state_dict().items()}
    selected = select_classes(weights, COCO, VOC)
    voc.load_state_dict({k.removeprefix('bbox_head.'): v for k, v in selected.items()})
    coco.eval(), voc.eval()
    features = tuple(torch.rand(1, c, 2, 2) for c in coco.in_channels)
    rows = [COCO.index(c) for c in ('bird', 'person')]
    for level, expected in zip(voc(features)[0], coco(features)[0], strict=True):
        own = level.unflatten(1, (-1, 20))[:, :, [VOC.index('bird'), VOC.index('person')]]
        torch.testing.assert_close(own, expected.unflatten(1, (-1, 80))[:, :, rows])


def test_rows_that_may_be_with_or_without_background_need_the_boxes():
    """Six rows are three priors of two classes, or two of them with a background."""
    key = 'bbox_head.cls_convs.0.0.bias'
    weights = {key: torch.arange(6.0)}
    with pytest.raises(ValueError, match=r'6 rows, which may be .* is missing'):
        select_classes(weights, ['cat', 'dog'], ['dog'])
    for priors, expected in ((3, [1, 3, 5]), (2, [1, 2, 4, 5])):
        boxes = {key.replace('cls', 'reg'): torch.zeros(priors * 4)}
        selected = select_classes(weights | boxes, ['cat', 'dog'], ['dog'])
        assert selected[key].tolist() == expected


def test_what_only_resuming_needs_is_left_out(tmp_path):
    weights = {'conv.weight': torch.ones(2)}
    source = checkpoint_file(tmp_path / 'epoch_3.pth', weights, message_hub={}, param_schedulers=[])
    path = publish_checkpoint(source, tmp_path / 'model.pth')
    content = path.read_bytes()
    assert path.name == f'model-{hashlib.sha256(content).hexdigest()[:8]}.pth'
    published = torch.load(path, weights_only=True)
    assert published.keys() == {'meta', 'state_dict'}
    assert published['meta']['weights'] == 'last'
    assert published['meta']['epoch'] == 3
    assert published['meta']['source_sha256'] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert b'/home/someone' not in content
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(['epoch_3.pth', path.name])


def test_keys_that_are_no_text(tmp_path):
    torch.save({1: torch.zeros(2)}, tmp_path / 'a.pth')
    path = publish_checkpoint(tmp_path / 'a.pth', tmp_path / 'b.pth')
    assert list(torch.load(path, weights_only=True)['state_dict']) == ['1']


@pytest.mark.parametrize(
    ('classes', 'message'),
    [
        (['cat', 'unicorn'], "['unicorn']"),
        ([], 'none was given'),
        (['cat', 'dog', 'cat'], "twice: ['cat']"),
        (['tv', 'tvmonitor'], "twice: ['tv', 'tvmonitor']"),
    ],
)
def test_class_that_was_not_trained_is_named(classes, message):
    weights = {'bbox_head.cls_convs.0.0.bias': torch.zeros(6 * 81)}
    with pytest.raises(ValueError) as error:
        select_classes(weights, COCO, classes)
    assert message in str(error.value)


def test_detector_with_other_rows_is_refused():
    with pytest.raises(ValueError, match='125 rows, which are not those of 80 classes'):
        select_classes({'bbox_head.cls_convs.0.0.bias': torch.zeros(125)}, COCO, VOC)
    with pytest.raises(ValueError, match='no layer predicts classes'):
        select_classes({'conv.weight': torch.zeros(1)}, COCO, VOC)


def test_depthwise_layers_of_the_head_stay(coco_detector):
    """Also where a depthwise layer happens to have a multiple of the rows."""
    _, coco = coco_detector
    weights = coco.state_dict()
    changed = {
        key
        for key, value in select_classes(weights, COCO, VOC).items()
        if value.shape != weights[key].shape
    }
    assert changed == {
        key for key, value in weights.items() if 'cls_convs' in key and value.shape[:1] == (6 * 81,)
    }
    assert len(changed) == 12


def test_bad_requests(tmp_path):
    source = checkpoint_file(tmp_path / 'a.pth', {'conv.weight': torch.ones(2)})
    with pytest.raises(ValueError, match='trained without EMAHook'):
        publish_checkpoint(source, tmp_path / 'b.pth', last_weights=True)
    with pytest.raises(ValueError, match=r'must end in \.pth, but is .*b\.pt'):
        publish_checkpoint(source, tmp_path / 'b.pt')
    torch.save(dict(state_dict={'conv.weight': torch.ones(2)}), source)
    with pytest.raises(ValueError, match='does not tell its classes'):
        publish_checkpoint(source, tmp_path / 'b.pth', classes=VOC)


class Evil:
    def __reduce__(self):
        return os.mkdir, ('evil',)


def test_checkpoint_that_runs_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(dict(state_dict={'w': torch.ones(1)}, meta=Evil()), 'evil.pth')
    with pytest.raises(UnsafeCheckpointError):
        publish_checkpoint('evil.pth', 'b.pth')
    assert os.listdir() == ['evil.pth']


@pytest.mark.slow
def test_tool(tmp_path):
    weights = {'bbox_head.cls_convs.0.0.bias': torch.zeros(6 * 81)}
    source = checkpoint_file(tmp_path / 'coco.pth', weights)
    done = run_tool('publish_checkpoint.py', source, tmp_path / 'voc.pth', '--classes', 'voc')
    (path,) = tmp_path.glob('voc-*.pth')
    assert f'wrote {path}' in done.stdout
    assert torch.load(path)['meta']['dataset_meta']['classes'] == tuple(VOC)
    tool = [sys.executable, str(ROOT / 'tools/publish_checkpoint.py')]
    failed = subprocess.run(
        [*tool, str(source), str(tmp_path / 'x.pth'), '--classes', 'cat', 'unicorn'],
        capture_output=True,
        text=True,
    )
    assert failed.returncode != 0
    assert "['unicorn']" in failed.stderr and 'Traceback' not in failed.stderr
