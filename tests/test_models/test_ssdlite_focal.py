# SPDX-License-Identifier: Apache-2.0
"""The focal loss of the SSDLite head, and levels with different numbers of priors."""

import math

import numpy as np
import pytest
import torch
from mmdet.models.dense_heads import SSDHead
from mmdet.registry import MODELS
from mmengine.config import Config
from test_models.small_head import ground_truth, metas, small_head
from test_models.test_ssdlite import golden_batch
from test_models.test_ssdlite_loss import MMDET_ASSIGNER, no_sync

from mmdet_mobilenext.models import ssdlite_head

FOCAL = dict(type='FocalLoss', use_sigmoid=True, alpha=0.25, gamma=2.0, loss_weight=5.0)
RATIOS = [[2, 3], [2]]
PRIORS = (6, 4)
CELLS = (4, 2)
NUM_PRIORS = 6 * 16 + 4 * 4


def focal_head(**kwargs):
    """Six priors in 16 cells and four in 4 cells."""
    return small_head(loss_cls=FOCAL, ratios=RATIOS, **kwargs)


def focal_outputs(num_images, num_classes=5, scale=1.0, shift=0.0, device='cpu'):
    cls_scores, bbox_preds = [], []
    for priors, side in zip(PRIORS, CELLS, strict=True):
        for channels, levels in ((priors * num_classes, cls_scores), (priors * 4, bbox_preds)):
            made = torch.randn(num_images, channels, side, side, device=device)
            levels.append(made)
    cls_scores = [(s * scale + shift).requires_grad_() for s in cls_scores]
    return cls_scores, [p.requires_grad_() for p in bbox_preds]


def authors_loss(scores, offsets, labels, targets, alpha=0.25, gamma=2.0):
    """The published loss and its gradients in float64, output by output.

    Args:
        scores: (n, classes + 1) logits; class k in 1..classes is output k - 1, and the last output
            is positive for no label.
        offsets: (n, 4).
        labels: (n,), 0 is the background.
        targets: (n, 4), read where labels are positive.
    """
    probs = 1 / (1 + np.exp(-scores))
    loss, grad = 0.0, np.zeros_like(scores)
    for i, label in enumerate(labels):
        for k, p in enumerate(probs[i]):
            if k == label - 1:
                loss += alpha * (1 - p) ** gamma * -math.log(p)
                grad[i, k] = alpha * (1 - p) ** gamma * (gamma * p * math.log(p) - (1 - p))
            else:
                loss += (1 - alpha) * p**gamma * -math.log1p(-p)
                grad[i, k] = (1 - alpha) * p**gamma * (p - gamma * (1 - p) * math.log1p(-p))
    is_pos = labels > 0
    distance = offsets[is_pos] - targets[is_pos]
    smooth = np.where(np.abs(distance) < 1, distance**2 / 2, np.abs(distance) - 0.5)
    count = is_pos.sum()
    grad_offsets = np.zeros_like(offsets)
    grad_offsets[is_pos] = np.clip(distance, -1, 1) / count
    return 5 * loss / count, smooth.sum() / count, 5 * grad / count, grad_offsets


@pytest.mark.parametrize('assigner', [None, MMDET_ASSIGNER])
@pytest.mark.parametrize(('scale', 'shift'), [(1.0, 0.0), (3.0, -4.6)])
@pytest.mark.parametrize('counts', [(3, 0, 1, 40), (0, 7), (300,)])
def test_loss_and_gradients_are_the_authors(counts, scale, shift, assigner):
    head = focal_head(assigner=assigner)
    cls_scores, bbox_preds = focal_outputs(len(counts), scale=scale, shift=shift)
    gts = ground_truth(counts)
    losses = head.loss_by_feat(cls_scores, bbox_preds, gts, metas(len(counts)))
    leaves = cls_scores + bbox_preds
    gradients = torch.autograd.grad(sum(losses.values()), leaves)

    sizes = [s.shape[-2:] for s in cls_scores]
    anchors, flags = head.get_anchors(sizes, metas(len(gts)), device='cpu')
    labels, _, targets, _, _ = head.get_targets(anchors, flags, gts, metas(len(gts)))
    labels = torch.cat(labels, 1).numpy().reshape(-1)
    theirs = np.where(labels == 5, 0, labels + 1)
    flat = [
        head._flatten(levels, channels).detach().double().numpy().reshape(-1, channels)
        for levels, channels in ((cls_scores, 5), (bbox_preds, 4))
    ]
    dead = np.full((len(flat[0]), 1), -40.0)  # the output that is never positive, trained away
    loss_cls, loss_bbox, grad_cls, grad_bbox = authors_loss(
        np.hstack([flat[0], dead]), flat[1], theirs, torch.cat(targets, 1).numpy().reshape(-1, 4)
    )
    assert losses['loss_cls'].item() == pytest.approx(loss_cls, rel=1e-5)
    assert losses['loss_bbox'].item() == pytest.approx(loss_bbox, rel=1e-5)
    for received, expected, channels in (
        (gradients[:2], grad_cls[:, :5], 5),
        (gradients[2:], grad_bbox, 4),
    ):
        received = head._flatten(received, channels).double().numpy().reshape(-1, channels)
        np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-7)


def test_every_negative_counts():
    """Also of images without boxes, which hard negatives leave out."""
    head = focal_head()
    cls_scores, bbox_preds = focal_outputs(2)
    losses = head.loss_by_feat(cls_scores, bbox_preds, ground_truth((2, 0)), metas(2))
    gradients = torch.autograd.grad(losses['loss_cls'], cls_scores)
    assert all((g != 0).all() for g in gradients)


def test_batch_without_boxes_is_as_with_one_positive():
    """The authors' loss divides by zero."""
    head = focal_head()
    cls_scores, bbox_preds = focal_outputs(2)
    losses = head.loss_by_feat(cls_scores, bbox_preds, ground_truth((0, 0)), metas(2))
    probs = head._flatten(cls_scores, 5).sigmoid()
    expected = 5 * 0.75 * (probs**2 * -(1 - probs).log()).sum()
    torch.testing.assert_close(losses['loss_cls'], expected)
    assert losses['loss_bbox'].item() == 0


@pytest.mark.parametrize(('sync', 'smallest'), [(True, 0.25), (False, 1.0)])
def test_processes_without_boxes_are_as_one_with_one_positive(monkeypatch, sync, smallest):
    """The mean over four processes of a single positive is a quarter."""
    monkeypatch.setattr(ssdlite_head, 'get_world_size', lambda: 4)
    head = focal_head(sync_num_pos=sync)
    cls_scores, bbox_preds = focal_outputs(1)
    many = head.loss_by_feat(cls_scores, bbox_preds, ground_truth((0,)), metas(1))
    monkeypatch.setattr(ssdlite_head, 'get_world_size', lambda: 1)
    one = head.loss_by_feat(cls_scores, bbox_preds, ground_truth((0,)), metas(1))
    torch.testing.assert_close(many['loss_cls'] * smallest, one['loss_cls'])


@pytest.mark.parametrize('counts', [(0, 2, 5), (0, 0)])
def test_loss_and_backward_never_wait_for_the_device(counts):
    head = focal_head()
    head.prior_generator.grid_priors([(4, 4), (2, 2)], device='meta')
    cls_scores, bbox_preds = focal_outputs(len(counts), device='meta')
    gts = ground_truth(counts, device='meta')
    with no_sync():
        losses = head.loss_by_feat(cls_scores, bbox_preds, gts, metas(len(counts)))
        sum(losses.values()).backward()
    assert cls_scores[0].grad.shape == cls_scores[0].shape


@pytest.mark.parametrize('num_images', [1, 8])
def test_detections_are_mmdets(num_images, monkeypatch):
    calls = []
    original = ssdlite_head.predict_batch
    monkeypatch.setattr(
        ssdlite_head, 'predict_batch', lambda *a, **k: calls.append(1) or original(*a, **k)
    )
    head = focal_head()
    outputs = focal_outputs(num_images, scale=2, shift=-3)
    args = dict(batch_img_metas=metas(num_images), rescale=True)
    ours = head.predict_by_feat(*outputs, **args)
    theirs = SSDHead.predict_by_feat(head, *outputs, **args)
    assert calls == [1]
    for our, their in zip(ours, theirs, strict=True):
        assert 0 < len(our) <= 100
        assert torch.equal(our.labels, their.labels)
        for key in ('bboxes', 'scores'):  # a sigmoid rounds by the place in memory
            torch.testing.assert_close(our[key], their[key], rtol=1e-6, atol=0)


def test_scores_are_sigmoids_of_all_outputs():
    """No output is the background, and scores of one box need not sum up to one."""
    head = focal_head(num_classes=2)
    cls_scores, bbox_preds = (list(outputs) for outputs in focal_outputs(1, num_classes=2))
    with torch.no_grad():
        for level in cls_scores:
            level.fill_(-20)
        cls_scores[1][0, :2, 0, 0] = torch.tensor([2.0, 3.0])
    (found,) = head.predict_by_feat(cls_scores, bbox_preds, batch_img_metas=metas(1))
    assert found.labels.tolist() == [1, 0]
    torch.testing.assert_close(found.scores, torch.tensor([3.0, 2.0]).sigmoid())


def branches(head, name):
    convs = [m for m in getattr(head, f'{name}_convs').modules() if isinstance(m, torch.nn.Conv2d)]
    norms = [
        m for m in getattr(head, f'{name}_convs').modules() if isinstance(m, torch.nn.BatchNorm2d)
    ]
    return convs, norms


def test_initialisation_is_the_authors():
    head = focal_head(levels=(4, 2))
    head.init_weights()
    convs, norms = branches(head, 'cls')
    assert len(convs) == 3 and len(norms) == 1
    for conv in convs:
        assert torch.all(conv.bias == torch.tensor(-math.log(99)))
    assert torch.cat([c.weight.flatten() for c in convs]).std().item() == pytest.approx(0.01, 0.2)
    convs, other_norms = branches(head, 'reg')
    for conv in convs:
        fans = sum(conv.weight.shape[:2]) * conv.kernel_size[0] ** 2
        bound = math.sqrt(6 / fans)
        assert not conv.bias.any() and 0.8 * bound < conv.weight.abs().max() <= bound
    for norm in norms + other_norms:
        assert torch.all(norm.weight == 1) and not norm.bias.any()


def test_initialisation_may_be_another():
    given = dict(type='Constant', layer='Conv2d', val=0.5, bias=-2)
    for loss_cls in (FOCAL, dict(type='CrossEntropyLoss')):
        head = small_head(loss_cls=loss_cls, cls_init_cfg=given)
        head.init_weights()
        assert all(torch.all(c.bias == -2) for c in branches(head, 'cls')[0])
        assert not any(c.bias.any() for c in branches(head, 'reg')[0])


def test_softmax_head_starts_as_all_its_convolutions():
    head = small_head()
    head.init_weights()
    assert not any(c.bias.any() for name in ('cls', 'reg') for c in branches(head, name)[0])


def test_different_numbers_of_priors_with_softmax():
    head = small_head(ratios=RATIOS)
    features = tuple(torch.rand(2, 8, side, side) for side in CELLS)
    cls_scores, bbox_preds = head(features)
    assert [s.shape[1] for s in cls_scores] == [36, 24]
    assert [p.shape[1] for p in bbox_preds] == [24, 16]
    losses = head.loss_by_feat(cls_scores, bbox_preds, ground_truth((3, 1)), metas(2))
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in head.parameters())
    assert head._flatten(bbox_preds, 4).shape == (2, NUM_PRIORS, 4)


def test_hard_negatives_with_the_focal_loss_are_refused():
    cfg = dict(assigner=dict(type='BatchMaxIoUAssigner'), neg_pos_ratio=3)
    generator = dict(
        type='SSDLitePriorGenerator', strides=[16], min_sizes=[20], max_sizes=[40],
        ratios=[[2]], input_size=64)  # fmt: skip
    head = dict(
        type='SSDLiteHead', num_classes=2, in_channels=(8,), anchor_generator=generator,
        loss_cls=FOCAL)  # fmt: skip
    with pytest.raises(ValueError, match=r'received neg_pos_ratio=3: set train_cfg\.neg_pos_ratio'):
        MODELS.build(dict(head, train_cfg=cfg))
    assert MODELS.build(dict(head, train_cfg=dict(cfg, neg_pos_ratio=None))).cls_out_channels == 2
    assert MODELS.build(head).use_sigmoid_cls  # without train_cfg


def test_softmax_with_all_negatives():
    """neg_pos_ratio=None is for every loss."""
    mined, every = small_head(), small_head()
    every.train_cfg['neg_pos_ratio'] = None
    cls_scores, bbox_preds = (
        [torch.randn(1, n * c, side, side) for n, side in zip((6, 6), CELLS, strict=True)]
        for c in (6, 4)
    )
    gts = ground_truth((2,))
    few = mined.loss_by_feat(cls_scores, bbox_preds, gts, metas(1))
    all_ = every.loss_by_feat(cls_scores, bbox_preds, gts, metas(1))
    mined.train_cfg['neg_pos_ratio'] = 10000
    most = mined.loss_by_feat(cls_scores, bbox_preds, gts, metas(1))
    assert few['loss_cls'] < all_['loss_cls']
    torch.testing.assert_close(all_['loss_cls'], most['loss_cls'])


def test_published_coco_priors(configs):
    """Those of VOC where sizes are the same; 3,232 with four in the last cell."""
    coco, voc = (
        MODELS.build(Config.fromfile(configs / f'ssdlite_mobilenext_{name}.py').model.bbox_head)
        for name in ('coco', 'voc')
    )
    sizes = [(n, n) for n in (20, 10, 5, 3, 2, 1)]
    ours, theirs = (h.prior_generator.grid_priors(sizes, device='cpu') for h in (coco, voc))
    assert sum(map(len, ours)) == 3232 and len(ours[-1]) == 4
    min_size, geometric = 270.0, math.sqrt(270 * 315)
    widths = [min_size, geometric, 320.0, 270 / math.sqrt(2)]  # the wide one is clamped
    assert (ours[-1][:, 2] - ours[-1][:, 0]).tolist() == pytest.approx(widths, rel=1e-5)
    for own, other in zip(ours[:-1], theirs[:-1], strict=True):
        own, other = own.view(-1, 6, 4), other.view(-1, 6, 4)
        assert torch.equal(own[:, [0, 2, 3, 4, 5]], other[:, [0, 2, 3, 4, 5]])
        assert not torch.equal(own[:, 1], other[:, 1])


def test_golden_batch_with_the_coco_head(configs):
    """Where every score is one half the loss is known."""
    head = MODELS.build(Config.fromfile(configs / 'ssdlite_mobilenext_coco.py').model).bbox_head
    _, _, _, gts, img_metas = golden_batch()
    sizes = (20, 10, 5, 3, 2, 1)
    priors = (6, 6, 6, 6, 6, 4)
    cls_scores = [torch.zeros(3, n * 80, s, s) for n, s in zip(priors, sizes, strict=True)]
    bbox_preds = [torch.zeros(3, n * 4, s, s) for n, s in zip(priors, sizes, strict=True)]
    losses = head.loss_by_feat(cls_scores, bbox_preds, gts, img_metas)
    anchors, flags = head.get_anchors([(s, s) for s in sizes], img_metas, device='cpu')
    labels = torch.cat(head.get_targets(anchors, flags, gts, img_metas)[0], 1)
    count = (labels < 80).sum().item()
    outputs = 3 * 3232 * 80
    expected = 5 * math.log(2) / 4 * (0.75 * (outputs - count) + 0.25 * count) / count
    assert count > 10 and losses['loss_cls'].item() == pytest.approx(expected, rel=1e-5)
