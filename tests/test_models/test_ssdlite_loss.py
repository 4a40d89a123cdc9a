# SPDX-License-Identifier: Apache-2.0
"""The loss of the SSDLite head: values, gradients, and that no step waits for a GPU."""

from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from mmdet.structures.bbox import bbox_overlaps
from test_models.small_head import ground_truth, metas, outputs, small_head
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmdet_mobilenext.models.batch_assigner import BatchMaxIoUAssigner, pad_boxes
from mmdet_mobilenext.models.ssdlite_targets import dense_targets, hard_negatives

MMDET_ASSIGNER = dict(
    type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.0,
    ignore_iof_thr=-1, gt_max_assign_all=False)  # fmt: skip


FROM_HOST = (torch.tensor, torch.as_tensor, torch.from_numpy, torch.Tensor.new_tensor)


class NoCopyFromHost(TorchFunctionMode):
    """Fails on a tensor of Python's numbers, which a GPU's memory has to be sent."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        assert func not in FROM_HOST, f'{func} copies from the host'
        return func(*args, **(kwargs or {}))


class NoCopyBetweenDevices(TorchDispatchMode):
    """Fails on an operator that has tensors of the CPU and of the device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        tensors = [t for t in tree_leaves((args, kwargs, out)) if isinstance(t, torch.Tensor)]
        devices = {t.device.type for t in tensors}
        assert devices <= {'meta'}, f'{func} touches {sorted(devices)}'
        return out


@contextmanager
def no_sync():
    """Fails on what a GPU has to wait for, with tensors on the meta device.

    Their values nobody knows: nonzero, an index by a mask, item and the like cannot run.
    """
    with NoCopyFromHost(), NoCopyBetweenDevices():
        yield


@pytest.mark.parametrize('counts', [(0, 2, 5), (0, 0), (1,)])
def test_loss_and_backward_never_wait_for_the_device(counts):
    head = small_head()
    head.prior_generator.grid_priors([(4, 4), (2, 2)], device='meta')
    cls_scores, bbox_preds = outputs(len(counts), device='meta')
    gts = ground_truth(counts, device='meta')
    with no_sync():
        losses = head.loss_by_feat(cls_scores, bbox_preds, gts, metas(len(counts)))
        sum(losses.values()).backward()
    assert bbox_preds[0].grad.shape == bbox_preds[0].shape


@pytest.mark.parametrize(
    'wait',
    [
        lambda t: t.nonzero(),
        lambda t: t[t > 0],
        lambda t: t.sum().item(),
        lambda t: t + torch.tensor([1.0, 2.0], device='meta'),
        lambda t: t.new_tensor([1.0, 2.0]),
        lambda t: torch.ones(2).to(t),
    ],
)
def test_the_check_sees_what_waits(wait):
    with pytest.raises((AssertionError, RuntimeError)), no_sync():
        wait(torch.ones(2, device='meta'))


def plain_losses(head, cls_scores, bbox_preds, gts):
    """SSD's loss, image by image and positive by positive, by mmdet's own targets."""
    img_metas, sizes = metas(len(gts)), [s.shape[-2:] for s in cls_scores]
    anchors, flags = head.get_anchors(sizes, img_metas, device='cpu')
    labels, _, targets, _, _ = head.get_targets(anchors, flags, gts, img_metas)
    labels, targets = torch.cat(labels, 1), torch.cat(targets, 1)
    scores, boxes = head._flatten(cls_scores, 6), head._flatten(bbox_preds, 4)
    total_cls = total_bbox = 0
    for i in range(len(gts)):
        is_pos = labels[i] < 5
        loss = F.cross_entropy(scores[i], labels[i], reduction='none')
        wanted = min(3 * int(is_pos.sum()), int((~is_pos).sum()))
        total_cls = total_cls + loss[is_pos].sum() + loss[~is_pos].topk(wanted).values.sum()
        total_bbox = total_bbox + F.smooth_l1_loss(
            boxes[i][is_pos], targets[i][is_pos], reduction='sum'
        )
    count = (labels < 5).sum().clamp(min=1)
    return dict(loss_cls=total_cls / count, loss_bbox=total_bbox / count), labels


@pytest.mark.parametrize('assigner', [None, MMDET_ASSIGNER])
@pytest.mark.parametrize('means', [None, [0.1, -0.2, 0.3, 0.0]])
@pytest.mark.parametrize('counts', [(3, 0, 1, 40), (0, 7), (300,)])
def test_losses_and_gradients_equal_the_plain_ones(counts, means, assigner):
    head, plain = small_head(means=means, assigner=assigner), small_head(means=means)
    cls_scores, bbox_preds = outputs(len(counts))
    gts = ground_truth(counts)
    expected, labels = plain_losses(plain, cls_scores, bbox_preds, gts)
    losses = head.loss_by_feat(cls_scores, bbox_preds, gts, metas(len(counts)))
    leaves = cls_scores + bbox_preds
    wanted = torch.autograd.grad(sum(expected.values()), leaves)
    received = torch.autograd.grad(sum(losses.values()), leaves)
    for key in expected:
        torch.testing.assert_close(losses[key], expected[key], rtol=1e-5, atol=0)
    for got, want in zip(received, wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-8)
    of_boxes = head._flatten(received[2:], 4)
    assert not of_boxes[labels == 5].any() and of_boxes[labels < 5].any()


def test_prediction_of_a_negative_may_be_anything():
    """Infinite or not a number, it reaches neither the loss nor a gradient."""
    head = small_head()
    gts = ground_truth((2, 0))
    cls_scores, bbox_preds = outputs(2)
    with torch.no_grad():
        bbox_preds[0][1] = float('inf')
        bbox_preds[1][1] = float('nan')
    losses = head.loss_by_feat(cls_scores, bbox_preds, gts, metas(2))
    sum(losses.values()).backward()
    assert torch.isfinite(losses['loss_bbox'])
    assert all(torch.isfinite(p.grad).all() and not p.grad[1].any() for p in bbox_preds)


def test_targets_are_finite_where_nothing_was_matched():
    priors = torch.tensor([[0.0, 0, 4, 4], [4, 4, 8, 8]])
    head = small_head()
    gts = ground_truth((0, 1))
    targets = dense_targets(head.assigner, head.bbox_coder, priors, gts, 5)
    assert torch.isfinite(targets.bbox_targets).all()
    assert targets.labels.tolist()[0] == [5, 5] and 5 > min(targets.labels.tolist()[1])


def test_other_box_coder_encodes_by_itself():
    """A coder of another kind, here a subclass, is asked rather than copied."""
    head = small_head()
    calls = []

    class Doubled(type(head.bbox_coder)):
        def encode(self, bboxes, gt_bboxes):
            calls.append(len(bboxes))
            return 2 * super().encode(bboxes, gt_bboxes)

    priors = torch.cat(head.prior_generator.grid_priors([(4, 4), (2, 2)], device='cpu'))
    gts = ground_truth((3, 1))
    single = dense_targets(head.assigner, head.bbox_coder, priors, gts, 5).bbox_targets
    coder = Doubled(target_stds=[0.1, 0.1, 0.2, 0.2])
    double = dense_targets(head.assigner, coder, priors, gts, 5).bbox_targets
    assert calls == [2 * 120]
    torch.testing.assert_close(double, 2 * single)


def test_hard_negatives_are_the_worst_three_for_each_positive():
    loss = torch.tensor([[5.0, 1.0, 4.0, 2.0, 3.0, 0.5], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
    is_pos = torch.tensor([[True, False, False, False, False, False], [False] * 6])
    mined = hard_negatives(loss, is_pos, torch.ones_like(is_pos), 3)
    assert mined.tolist() == [[False, False, True, True, True, False], [False] * 6]


def test_of_equal_negatives_the_first_are_mined():
    loss = torch.ones(1, 3000)
    is_pos = torch.zeros(1, 3000, dtype=torch.bool)
    is_pos[0, 7] = True
    is_valid = torch.ones_like(is_pos)
    is_valid[0, 1] = False
    mined = hard_negatives(loss, is_pos, is_valid, 3)
    assert mined.nonzero()[:, 1].tolist() == [0, 2, 3]


def test_assignment_in_parts_is_the_same(monkeypatch):
    """One image at a time, as memory is bounded with many boxes."""
    priors = torch.cat(small_head().prior_generator.grid_priors([(4, 4), (2, 2)], device='cpu'))
    gt_bboxes = [gt.bboxes for gt in ground_truth((3, 0, 30, 1))]
    assigner = BatchMaxIoUAssigner(0.5, 0.4)
    whole = assigner.assign_batch(priors, gt_bboxes)
    monkeypatch.setattr(BatchMaxIoUAssigner, 'MAX_OVERLAPS_CPU', 1)
    assert torch.equal(assigner.assign_batch(priors, gt_bboxes), whole)
    assert (whole == -2).any() and (whole >= 0).any()


def test_overlaps_round_as_mmdets():
    from mmdet_mobilenext.models.batch_assigner import _ious

    boxes, is_real = pad_boxes([gt.bboxes for gt in ground_truth((5, 9))])
    priors = torch.cat(small_head().prior_generator.grid_priors([(4, 4), (2, 2)], device='cpu'))
    assert is_real.sum(1).tolist() == [5, 9]
    assert torch.equal(
        _ious(boxes, priors), bbox_overlaps(boxes, priors.expand(2, -1, -1).contiguous())
    )
