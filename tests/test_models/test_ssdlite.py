# SPDX-License-Identifier: Apache-2.0
"""Neck, head and priors: parity with the golden numbers, and behaviour."""

import copy
import math

import numpy as np
import pytest
import torch
from golden import assert_matches, load, make_input, make_state_dict
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData

from mmdet_mobilenext.checkpoints.convert import convert_state_dict
from mmdet_mobilenext.checkpoints.targets import build_ssdlite_detector
from mmdet_mobilenext.engine.complexity import count_madds, count_parameters
from mmdet_mobilenext.models import (
    BatchMaxIoUAssigner,
    SSDLiteHead,
    SSDLiteNeck,
    SSDLitePriorGenerator,
)

DETECTORS = {'mobilenext': 'mobilenext', 'mobilenetv2': 'mobilenet_v2'}


@pytest.fixture(scope='module')
def detector_cfg(configs):
    return {name: Config.fromfile(configs / f'ssdlite_{name}_voc.py').model for name in DETECTORS}


@pytest.fixture(scope='module')
def detectors(detector_cfg):
    """Both published detectors from their configs, with converted golden weights."""
    built = {}
    for name, golden_name in DETECTORS.items():
        detector = MODELS.build(detector_cfg[name]).eval()
        weights, _ = convert_state_dict(
            make_state_dict(load('models')[golden_name]['state_dict']), 'houqb-detector'
        )
        detector.load_state_dict(weights)
        built[name] = detector
    return built


@pytest.mark.parametrize('name', DETECTORS)
def test_parity_with_the_authors_detector(detectors, name):
    detector, record = detectors[name], load('models')[DETECTORS[name]]
    head = detector.bbox_head
    with torch.no_grad():
        features = detector.extract_feat(make_input(320))
        cls_scores, bbox_preds = head(features)
    for feature, expected in zip(features, record['features'], strict=True):
        assert_matches(feature, expected)
    # The authors' class channels begin with the background.
    logits = torch.roll(head._flatten(cls_scores, 21), 1, dims=-1)
    assert_matches(logits, record['cls_logits'])
    assert_matches(head._flatten(bbox_preds, 4), record['bbox_pred'])
    priors = head.prior_generator.grid_priors([s.shape[-2:] for s in cls_scores], device='cpu')
    priors = torch.cat(priors) / 320
    cxcywh = torch.cat([(priors[:, :2] + priors[:, 2:]) / 2, priors[:, 2:] - priors[:, :2]], 1)
    assert_matches(cxcywh, record['priors_cxcywh'])
    assert count_parameters(detector) == record['params']
    assert count_madds(detector, (320, 320)) == record['conv_macs']


@pytest.mark.parametrize('name', DETECTORS)
def test_conversion_target_is_the_config(detector_cfg, name):
    from_config = MODELS.build(detector_cfg[name]).state_dict()
    target = build_ssdlite_detector(name, 20).state_dict()
    assert {k: v.shape for k, v in from_config.items()} == {k: v.shape for k, v in target.items()}


def golden_batch():
    """The head's inputs of golden_loss.json, in this project's conventions."""
    record = load('loss')
    cls = 2 * np.sin(0.618 * np.arange(3 * 3234 * 21, dtype=np.float64))
    loc = np.sin(0.414 * np.arange(3 * 3234 * 4, dtype=np.float64))
    cls = torch.from_numpy(cls.reshape(3, 3234, 21).astype(np.float32)).roll(-1, dims=-1)
    loc = torch.from_numpy(loc.reshape(3, 3234, 4).astype(np.float32))
    sizes, start, cls_scores, bbox_preds = (20, 10, 5, 3, 2, 1), 0, [], []
    for size in sizes:
        stop = start + 6 * size * size
        for source, target in ((cls, cls_scores), (loc, bbox_preds)):
            level = source[:, start:stop].reshape(3, size, size, -1)
            target.append(level.permute(0, 3, 1, 2).contiguous())
        start = stop
    gts = [
        InstanceData(bboxes=torch.tensor(gt['boxes_px']), labels=torch.tensor(gt['labels_voc0']))
        for gt in record['gts']
    ]
    metas = [dict(img_shape=(320, 320), pad_shape=(320, 320), scale_factor=(1, 1))] * 3
    return record, cls_scores, bbox_preds, gts, metas


@pytest.mark.parametrize('name', DETECTORS)
def test_parity_with_the_authors_loss(detectors, name):
    head = detectors[name].bbox_head
    record, cls_scores, bbox_preds, gts, metas = golden_batch()
    losses = head.loss_by_feat(cls_scores, bbox_preds, gts, metas)
    assert losses['loss_bbox'].item() == pytest.approx(record['reg_loss'], rel=1e-4)
    assert losses['loss_cls'].item() == pytest.approx(record['cls_loss'], rel=1e-4)
    anchors, flags = head.get_anchors([s.shape[-2:] for s in cls_scores], metas, device='cpu')
    labels = torch.cat(head.get_targets(anchors, flags, gts, metas)[0], 1)
    assert (labels < 20).sum().item() == record['num_pos']


def test_parity_with_the_authors_boxes(detectors):
    head = detectors['mobilenext'].bbox_head
    record, _, bbox_preds, _, _ = golden_batch()
    priors = torch.cat(
        head.prior_generator.grid_priors([p.shape[-2:] for p in bbox_preds], device='cpu')
    )
    offsets = head._flatten(bbox_preds, 4)[0, :40]
    boxes = head.bbox_coder.decode(priors[:40], offsets, max_shape=(320, 320)) / 320
    expected = torch.tensor(record['decoded_first']['boxes01'])
    torch.testing.assert_close(boxes, expected, atol=1e-4, rtol=0)


def test_loss_equals_mmdets_where_that_is_right(detectors):
    """mmdet's SSDHead computes image by image; with a positive in each the sums agree."""
    from mmdet.models.dense_heads import SSDHead

    head = detectors['mobilenext'].bbox_head
    _, cls_scores, bbox_preds, gts, metas = golden_batch()
    head.train_cfg['smoothl1_beta'] = 1.0
    ours = head.loss_by_feat(cls_scores, bbox_preds, gts, metas)
    theirs = SSDHead.loss_by_feat(head, cls_scores, bbox_preds, gts, metas)
    for key in ours:
        assert ours[key].item() == pytest.approx(float(sum(theirs[key])), rel=1e-5)


@pytest.mark.parametrize('neg_iou_thr', [0.5, 0.35])
def test_batch_assigner_equals_mmdets(neg_iou_thr):
    """Image by image: many boxes, crowded boxes that want the same prior, none."""
    assigner = BatchMaxIoUAssigner(0.5, neg_iou_thr)
    generator = SSDLitePriorGenerator([16, 32], [20, 50], [50, 90], [[2], [2]], input_size=128)
    priors = torch.cat(generator.grid_priors([(8, 8), (4, 4)], device='cpu'))
    images = [s.gt_instances for n in (0, 1, 7, 40) for s in samples([(128, 128)], num_boxes=n)]
    crowd = torch.tensor([[40.0, 40, 60, 60], [41, 40, 61, 60], [40, 41, 60, 61]])
    images.append(InstanceData(bboxes=crowd, labels=torch.arange(3)))
    batched = assigner.assign_batch(priors, [gt.bboxes for gt in images])
    for row, gt in zip(batched, images, strict=True):
        expected = assigner.assign(InstanceData(priors=priors), gt).gt_inds
        expected = torch.where(expected > 0, expected - 1, -1 - (expected == -1).long())
        assert torch.equal(row, expected)


def test_any_assigner_of_mmdet_gives_the_same_loss(detectors, detector_cfg):
    record, cls_scores, bbox_preds, gts, metas = golden_batch()
    cfg = detector_cfg['mobilenext'].bbox_head.copy()
    cfg.train_cfg = dict(
        assigner=dict(
            type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.0,
            ignore_iof_thr=-1, gt_max_assign_all=False))  # fmt: skip
    losses = MODELS.build(cfg).loss_by_feat(cls_scores, bbox_preds, gts, metas)
    assert losses['loss_bbox'].item() == pytest.approx(record['reg_loss'], rel=1e-4)
    assert losses['loss_cls'].item() == pytest.approx(record['cls_loss'], rel=1e-4)


def test_image_without_boxes(detectors):
    """Adds nothing, and counts for nothing in the denominator."""
    head = detectors['mobilenext'].bbox_head
    _, cls_scores, bbox_preds, gts, metas = golden_batch()
    empty = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    two = head.loss_by_feat(
        [s[:2] for s in cls_scores], [p[:2] for p in bbox_preds], gts[:2], metas[:2]
    )
    three = head.loss_by_feat(cls_scores, bbox_preds, [*gts[:2], empty], metas)
    for key in two:
        assert three[key].item() == pytest.approx(two[key].item(), rel=1e-6)
    none = head.loss_by_feat(cls_scores, bbox_preds, [empty] * 3, metas)
    assert [v.item() for v in none.values()] == [0, 0]


def samples(shapes, num_boxes=2):
    """Data samples with random boxes."""
    made = []
    for height, width in shapes:
        sample = DetDataSample(
            metainfo=dict(
                img_shape=(height, width),
                ori_shape=(height, width),
                pad_shape=(height, width),
                batch_input_shape=(height, width),
                scale_factor=(1.0, 1.0),
            )
        )
        corners = torch.rand(num_boxes, 2, 2).sort(1).values * torch.tensor([width, height])
        sample.gt_instances = InstanceData(
            bboxes=corners.reshape(-1, 4), labels=torch.arange(num_boxes)
        )
        made.append(sample)
    return made


@pytest.mark.parametrize('name', DETECTORS)
def test_every_parameter_gets_a_gradient(detector_cfg, name):
    detector = MODELS.build(detector_cfg[name]).train()
    losses = detector.loss(torch.rand(2, 3, 320, 320), samples([(320, 320)] * 2))
    sum(losses.values()).backward()
    assert [n for n, p in detector.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize('name', DETECTORS)
def test_predicts(detectors, name):
    """mmdet's own SSDHead fails here with an AttributeError."""
    with torch.no_grad():
        results = detectors[name].predict(torch.rand(2, 3, 320, 320), samples([(320, 320)] * 2))
    for result in results:
        pred = result.pred_instances
        assert pred.bboxes.shape == (len(pred.scores), 4)
        assert 0 < len(pred.scores) <= 100
        assert (pred.scores > 0.01).all()
        assert (pred.labels < 20).all()


def resized_cfg(cfg, width, height):
    """A model config for another input size, its priors scaled along."""
    cfg = copy.deepcopy(cfg)
    levels = [(math.ceil(width / 16), math.ceil(height / 16))]
    for _ in range(5):
        levels.append(tuple(math.ceil(n / 2) for n in levels[-1]))
    generator = cfg.bbox_head.anchor_generator
    generator.input_size = (width, height)
    generator.strides = [(width / w, height / h) for w, h in levels]
    return cfg


@pytest.mark.parametrize('size', [(512, 320), (160, 160), (300, 500), (200, 90)])
def test_other_input_sizes(detector_cfg, size):
    width, height = size
    detector = MODELS.build(resized_cfg(detector_cfg['mobilenext'], width, height))
    inputs = torch.rand(2, 3, height, width)
    losses = detector.loss(inputs, samples([(height, width)] * 2))
    assert all(torch.isfinite(v) for v in losses.values())
    detector.eval()
    with torch.no_grad():
        assert len(detector.predict(inputs, samples([(height, width)] * 2))) == 2


def test_wrong_input_size_is_named(detectors):
    with pytest.raises(ValueError, match=r'priors were made for an input of 320x320.*is 512x256'):
        detectors['mobilenext'].predict(torch.rand(1, 3, 256, 512), samples([(256, 512)]))


def test_stride_that_does_not_fit_is_named():
    generator = SSDLitePriorGenerator([16, 64], [20, 60], [40, 90], [[2], [2]], input_size=128)
    generator.check_featmap_sizes([(8, 8), (2, 2)], (128, 128))
    with pytest.raises(ValueError, match=r'level 1 is 4x4 cells, but stride .*makes 2x2.*near 32'):
        generator.check_featmap_sizes([(8, 8), (4, 4)], (128, 128))
    with pytest.raises(ValueError, match='2 levels, but the network hands over 1'):
        generator.check_featmap_sizes([(8, 8)], (128, 128))


def test_priors_are_clamped():
    generator = SSDLitePriorGenerator([120], [250], [320], [[2, 3]], input_size=320)
    (priors,) = generator.grid_priors([(3, 3)], device='cpu')
    assert priors.shape == (54, 4)
    sizes = priors[:, 2:] - priors[:, :2]
    assert sizes.max().item() == pytest.approx(320, abs=1e-3)  # 250 * sqrt(3) would be 433
    centres = (priors[:, :2] + priors[:, 2:]) / 2
    assert centres.max() <= 320
    wide, tall = sizes[2], sizes[3]
    assert wide[0] > wide[1] and tall[0] < tall[1]


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(min_sizes=[20, 30]), 'one entry per level'),
        (dict(input_size=0), 'input_size must be positive'),
        (dict(min_sizes=[-1]), 'min_sizes must be positive'),
    ],
)
def test_bad_priors_are_named(kwargs, message):
    good = dict(strides=[16], min_sizes=[20], max_sizes=[40], ratios=[[2]], input_size=128)
    with pytest.raises(ValueError, match=message):
        SSDLitePriorGenerator(**{**good, **kwargs})


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(out_channels=(1, 2, 3)), 'out_channels must begin with'),
        (dict(expand_ratios=(0.5, 0.5)), 'one expand ratio per extra level'),
        (dict(extra_type='ghost'), "received 'ghost'"),
        (dict(tap_indices=(2,)), r'tap_indices must be in \[0, 1\]'),
    ],
)
def test_bad_neck_arguments_are_named(kwargs, message):
    good = dict(
        in_channels=(8, 16),
        out_channels=(8, 16, 8),
        expand_ratios=(0.5,),
        extra_type='sandglass',
    )
    with pytest.raises(ValueError, match=message):
        SSDLiteNeck(**{**good, **kwargs})


@pytest.mark.parametrize('extra_type', ['sandglass', 'inverted_residual'])
def test_neck_levels(extra_type):
    neck = SSDLiteNeck((8, 16), (8, 16, 12, 4), (0.5, 0.25), extra_type).eval()
    levels = neck((torch.rand(1, 8, 10, 6), torch.rand(1, 16, 5, 3)))
    shapes = [(8, 10, 6), (16, 5, 3), (12, 3, 2), (4, 2, 1)]
    assert [tuple(v.shape[1:]) for v in levels] == shapes
    with pytest.raises(ValueError, match='built for 2 inputs'):
        neck((torch.rand(1, 8, 10, 6),))


def test_batch_of_one_that_batch_norm_cannot_train_is_named():
    neck = SSDLiteNeck((8,), (8, 4), (0.5,), 'sandglass')
    with pytest.raises(ValueError, match='at least 2 images'):
        neck((torch.rand(1, 8, 2, 2),))
    neck.eval()((torch.rand(1, 8, 2, 2),))
    gn = dict(type='GN', num_groups=2)
    SSDLiteNeck((8,), (8, 4), (0.5,), 'sandglass', norm_cfg=gn)((torch.rand(1, 8, 2, 2),))


def test_last_level_is_a_plain_1x1_convolution(detectors):
    for convs in (
        detectors['mobilenext'].bbox_head.cls_convs,
        detectors['mobilenetv2'].bbox_head.reg_convs,
    ):
        assert [len(branch) for branch in convs] == [2, 2, 2, 2, 2, 1]
        assert convs[-1][0].kernel_size == (1, 1)
        assert convs[0][0].conv.groups == convs[0][0].conv.in_channels
        assert convs[0][0].conv.bias is not None


def test_head_levels_must_fit_the_priors():
    with pytest.raises(ValueError, match='in_channels has 1 levels, but the priors have 2'):
        SSDLiteHead(
            num_classes=3,
            in_channels=(8,),
            anchor_generator=dict(
                type='SSDLitePriorGenerator',
                strides=[16, 32],
                min_sizes=[20, 40],
                max_sizes=[40, 60],
                ratios=[[2], [2]],
                input_size=64,
            ),
        )


def test_unpacked_ignored_boxes_do_not_change_the_loss(detectors):
    """Difficult boxes reach the head as ignored ones; SSD trains without them."""
    head = detectors['mobilenext'].bbox_head
    _, cls_scores, bbox_preds, gts, metas = golden_batch()
    ignored = InstanceData(bboxes=torch.tensor([[10.0, 10, 200, 200]]), labels=torch.tensor([3]))
    batch = []
    for gt in gts:
        sample = DetDataSample(gt_instances=gt, metainfo=metas[0])
        sample.ignored_instances = ignored
        batch.append(sample)
    unpacked, unpacked_ignored, unpacked_metas = unpack_gt_instances(batch)
    with_ignored = head.loss_by_feat(
        cls_scores, bbox_preds, unpacked, unpacked_metas, unpacked_ignored
    )
    without = head.loss_by_feat(cls_scores, bbox_preds, gts, metas)
    assert with_ignored == without


def test_bfloat16_autocast_trains_and_predicts(detectors):
    detector = detectors['mobilenext']
    inputs, data_samples = torch.rand(2, 3, 320, 320), samples([(320, 320)] * 2)
    with torch.autocast('cpu', dtype=torch.bfloat16), torch.no_grad():
        losses = detector.loss(inputs, data_samples)
        results = detector.predict(inputs, data_samples)
    assert all(v.dtype == torch.float32 and torch.isfinite(v) for v in losses.values())
    assert results[0].pred_instances.bboxes.dtype == torch.float32


def test_sigmoid_loss_is_refused(detector_cfg):
    cfg = detector_cfg['mobilenext'].bbox_head.copy()
    cfg.loss_cls = dict(type='CrossEntropyLoss', use_sigmoid=True)
    with pytest.raises(ValueError, match='must not use a sigmoid unless it is FocalLoss'):
        MODELS.build(cfg)
