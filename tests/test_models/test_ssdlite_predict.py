# SPDX-License-Identifier: Apache-2.0
"""Batched prediction gives what mmdet gives image by image."""

import numpy as np
import pytest
import torch
from mmcv.ops import batched_nms
from mmdet.models.dense_heads import SSDHead
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import ConfigDict
from test_models.small_head import LEVELS, SIDE, TEST_CFG, metas, outputs, small_head

from mmdet_mobilenext.models import ssdlite_head
from mmdet_mobilenext.models.batch_nms import nms_by_image

FACTORS = [(0.64, 0.853), (1.7, 0.3), (1.0, 1.0)]


def both(head, cls_scores, bbox_preds, img_metas, rescale=True, **cfg):
    """Detections of this project and of mmdet; fails if they are not the same."""
    args = dict(batch_img_metas=img_metas, cfg=ConfigDict({**TEST_CFG, **cfg}), rescale=rescale)
    ours = head.predict_by_feat(cls_scores, bbox_preds, **args)
    theirs = SSDHead.predict_by_feat(head, cls_scores, bbox_preds, **args)
    assert len(ours) == len(theirs) == len(img_metas)
    for our, their in zip(ours, theirs, strict=True):
        assert set(our.keys()) == set(their.keys())
        for key in ('bboxes', 'scores', 'labels'):
            assert our[key].dtype == their[key].dtype
            assert torch.equal(our[key], their[key])
    return ours


@pytest.fixture
def batched(monkeypatch):
    """Counts the batches that did not go to mmdet's way."""
    calls = []
    original = ssdlite_head.predict_batch
    monkeypatch.setattr(
        ssdlite_head, 'predict_batch', lambda *a, **k: calls.append(1) or original(*a, **k)
    )
    return calls


@pytest.mark.parametrize('num_images', [1, 8, 24])
@pytest.mark.parametrize('background', [0.0, 3.0, 6.0])
@pytest.mark.parametrize('rescale', [True, False])
def test_same_detections(batched, num_images, background, rescale):
    img_metas = metas(num_images)
    for i, meta in enumerate(img_metas):
        meta['scale_factor'] = FACTORS[i % 3]
    results = both(small_head(), *outputs(num_images, background=background), img_metas, rescale)
    assert batched == [1]
    assert any(len(r) for r in results)


@pytest.mark.parametrize('clip_border', [True, False])
def test_same_detections_with_smallest_size_and_border(batched, clip_border):
    head = small_head(clip_border=clip_border)
    img_metas = metas(4)
    for i, meta in enumerate(img_metas):
        meta['img_shape'] = (SIDE - 10 * i, SIDE - 3 * i)
    kept = both(head, *outputs(4), img_metas, False, min_bbox_size=20)
    every = both(head, *outputs(4), img_metas, False)
    assert batched == [1, 1]
    sizes = torch.cat([r.bboxes[:, 2:] - r.bboxes[:, :2] for r in kept])
    assert sizes.min() > 20 > min((r.bboxes[:, 2:] - r.bboxes[:, :2]).min() for r in every)


@pytest.mark.parametrize('iou_threshold', [0.02, 0.45, 0.9])
@pytest.mark.parametrize('max_per_img', [1, 7, 3000])
@pytest.mark.parametrize('num_classes', [1, 9])
def test_same_detections_however_many_are_looked_at(iou_threshold, max_per_img, num_classes):
    """A low threshold needs many candidates for few detections, a high one the best only."""
    levels = (8, 4)
    results = both(
        small_head(num_classes, levels=levels),
        *outputs(2, num_classes, levels),
        metas(2),
        nms=dict(type='nms', iou_threshold=iou_threshold),
        max_per_img=max_per_img,
    )
    assert all(0 < len(r) <= max_per_img for r in results)


@pytest.mark.parametrize('split_thr', [400, 10000])
def test_same_detections_of_an_untrained_network(split_thr):
    """Above split_thr mmcv goes class by class, where boxes cannot touch across classes."""
    levels, num_classes = (16, 8), 9
    cls_scores, bbox_preds = outputs(2, num_classes, levels)
    assert 6 * (16**2 + 8**2) * num_classes > 10000
    with torch.no_grad():
        for pred in bbox_preds:
            pred.mul_(4)  # far beyond the border, into the next class's place
    nms_cfg = dict(type='nms', iou_threshold=0.3, split_thr=split_thr)
    both(
        small_head(num_classes, levels=levels), cls_scores, bbox_preds, metas(2),
        score_thr=0.0, nms=nms_cfg)  # fmt: skip


def test_images_without_detections():
    cls_scores, bbox_preds = outputs(3)
    with torch.no_grad():
        for scores in cls_scores:
            scores.view(3, 6, 6, *scores.shape[-2:])[1, :, -1] = 100
    results = both(small_head(), cls_scores, bbox_preds, metas(3))
    assert [len(r) > 0 for r in results] == [True, False, True]
    assert results[1].bboxes.shape == (0, 4) and results[1].labels.dtype == torch.long
    assert [len(r) for r in both(small_head(), cls_scores, bbox_preds, metas(3), score_thr=1)] == [
        0, 0, 0]  # fmt: skip


def test_not_a_number_is_no_detection():
    cls_scores, bbox_preds = outputs(2)
    with torch.no_grad():
        cls_scores[0][0] = float('nan')
    results = both(small_head(), cls_scores, bbox_preds, metas(2))
    assert all(torch.isfinite(r.scores).all() for r in results)


@pytest.mark.parametrize(
    'cfg',
    [
        dict(nms_pre=479),
        dict(nms=dict(type='soft_nms', iou_threshold=0.45, min_score=0.02)),
        dict(nms=dict(type='nms', iou_threshold=0.45, class_agnostic=True)),
        dict(nms=dict(type='nms', iou_threshold=0.45, max_num=3)),
    ],
)
def test_what_the_batch_does_not_know_is_left_to_mmdet(batched, cfg):
    both(small_head(), *outputs(2), metas(2), **cfg)
    assert batched == []


def test_nothing_is_cut_by_as_many_as_there_are(batched):
    both(small_head(), *outputs(2), metas(2), nms_pre=480)
    assert batched == [1]


def test_without_nms_and_traced_is_left_to_mmdet(batched, monkeypatch):
    head, (cls_scores, bbox_preds) = small_head(), outputs(1)
    args = dict(batch_img_metas=metas(1))
    (raw,) = head.predict_by_feat(cls_scores, bbox_preds, with_nms=False, **args)
    assert len(raw) > 100
    monkeypatch.setattr(torch.jit, 'is_tracing', lambda: True)
    head.predict_by_feat(cls_scores, bbox_preds, **args)
    assert batched == []


def greedy(boxes, scores, labels, iou_threshold):
    """NMS as a textbook has it; of equal scores the first."""
    rivals = (bbox_overlaps(boxes, boxes) > iou_threshold) & (labels == labels[:, None])
    kept = []
    for i in np.argsort(-scores.numpy(), kind='stable').tolist():
        if not rivals[i, kept].any():
            kept.append(i)
    return kept


@pytest.mark.parametrize('split_thr', [100, 10000])
@pytest.mark.parametrize('max_per_img', [2, 30, 1000])
def test_of_equal_scores_the_first_is_kept(max_per_img, split_thr):
    num = 400
    corners = torch.randint(0, 40, (num, 2)).float()
    boxes = torch.cat([corners, corners + torch.randint(5, 40, (num, 2))], 1)
    scores = torch.randint(1, 4, (num,)) / 4
    labels = torch.randint(0, 3, (num,))
    first, second = nms_by_image(
        boxes, torch.arange(num), scores, labels, [num - 9, 9], [num - 9, 9],
        0.45, max_per_img, split_thr)  # fmt: skip
    assert first.tolist() == greedy(boxes[:-9], scores[:-9], labels[:-9], 0.45)[:max_per_img]
    expected = greedy(boxes[-9:], scores[-9:], labels[-9:], 0.45)[:max_per_img]
    assert second.tolist() == [i + num - 9 for i in expected]


def test_mixed_precision_gives_float32():
    cls_scores, bbox_preds = outputs(2, levels=LEVELS)
    halves = [[t.detach().bfloat16() for t in level] for level in (cls_scores, bbox_preds)]
    for result in small_head().predict_by_feat(*halves, batch_img_metas=metas(2)):
        assert result.bboxes.dtype == result.scores.dtype == torch.float32
        assert len(result) and (result.scores.diff() <= 0).all()


@pytest.mark.parametrize(('split_thr', 'expected'), [(10, [0]), (2, [0, 1])])
def test_boxes_touch_across_classes_as_in_mmcv(split_thr, expected):
    """Left of and above the image, a box lies in the place of the class before."""
    boxes = torch.tensor([[60.0, 60, 100, 100], [-41, -41, -1, -1]])
    scores, labels = torch.tensor([0.9, 0.8]), torch.tensor([0, 1])
    cfg = dict(type='nms', iou_threshold=0.45, split_thr=split_thr)
    assert batched_nms(boxes, scores, labels, cfg)[1].tolist() == expected
    (kept,) = nms_by_image(boxes, torch.arange(2), scores, labels, [2], [2], 0.45, 100, split_thr)
    assert kept.tolist() == expected


@pytest.mark.parametrize('split_thr', [100, 10000])
def test_detections_behind_a_crowd_are_found(split_thr):
    """The best 300 are one object: it takes more candidates to fill an image."""
    corners = torch.cat([torch.zeros(300, 2), torch.arange(1, 11.0)[:, None].repeat(1, 2) * 50])
    boxes, scores = torch.cat([corners, corners + 40], 1), torch.linspace(1, 0.1, 310)
    labels = torch.zeros(310, dtype=torch.long)
    (kept,) = nms_by_image(
        boxes, torch.arange(310), scores, labels, [310], [310], 0.45, 7, split_thr
    )
    assert kept.tolist() == [0, *range(300, 306)]
