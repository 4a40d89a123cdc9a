# SPDX-License-Identifier: Apache-2.0
"""A detector as one function of pixels: the same boxes and scores as MMDetection's."""

import numpy as np
import pytest
import torch
from mmdet.models import DetDataPreprocessor
from mmengine.config import Config, ConfigDict
from random_detectors import load, noise, predict, random_detector, share_found
from torch import nn

from mmdet_mobilenext.benchmark.speed.stock_head import StockSSDHead
from mmdet_mobilenext.engine.model_checks import build_model
from mmdet_mobilenext.export import ExportError
from mmdet_mobilenext.export.network import DeployableDetector, check_exportable
from mmdet_mobilenext.export.selection import WithSelection
from mmdet_mobilenext.export.settings import input_size, resize_priors, selection

FAMILIES = [
    'ssdlite_mobilenext_voc.py',
    'ssdlite_mobilenetv2_voc.py',
    'ssdlite_resnet18_voc.py',
    'ssdlite_mobilenext_coco.py',
    'ssdlite_mobilenetv2_fpn_coco.py',
    'ssdlite_mobilenext_fpn_voc.py',
    'ssdlite_mobilenetv2_small160_30e_voc07.py',
    'ssdlite_mobilenext_demo.py',
    'ablation/dw_none_small160_30e_voc07.py',
]


def detections(model, cfg, images, color='bgr'):
    """What the exported file is going to find."""
    chosen = selection(cfg)
    size = images.shape[2], images.shape[1]
    network = DeployableDetector(model, size, color)
    most = min(chosen.max_per_img, len(network.priors) * network.num_classes)
    network = WithSelection(network, chosen.score_thr, chosen.iou_thr, most)
    with torch.no_grad():
        found = network(torch.from_numpy(images))
    return [tuple(part[part_of[1] > 0] for part in part_of) for part_of in _by_image(found)]


def _by_image(found):
    return list(zip(*(part.numpy() for part in found), strict=True))


@pytest.mark.parametrize('name', FAMILIES)
def test_it_finds_what_the_detector_predicts(configs, name):
    cfg = load(configs / name)
    model = random_detector(cfg)
    images = noise(2, input_size(cfg), seed=5)
    assert share_found(predict(model, images), detections(model, cfg, images)) > 0.97


def test_scores_and_boxes_before_nms(configs):
    """To rounding, where NMS might hide a difference."""
    cfg = load(configs / 'ssdlite_mobilenext_demo.py')
    model = random_detector(cfg)
    images = noise(2, (128, 128), seed=6)
    with torch.no_grad():
        boxes, scores = DeployableDetector(model, (128, 128))(torch.from_numpy(images))
        tensors = [torch.from_numpy(image).permute(2, 0, 1) for image in images]
        data = model.data_preprocessor(dict(inputs=tensors, data_samples=None))['inputs']
        cls_scores, bbox_preds = model.bbox_head(model.extract_feat(data))
        sizes = [level.shape[-2:] for level in cls_scores]
        priors = torch.cat(model.bbox_head.prior_generator.grid_priors(sizes, device='cpu'))
        flatten = model.bbox_head._flatten
        wanted = [
            model.bbox_head.bbox_coder.decode(priors, offsets, max_shape=(128, 128))
            for offsets in flatten(bbox_preds, 4)
        ]
        probabilities = flatten(cls_scores, model.bbox_head.cls_out_channels).softmax(-1)
    torch.testing.assert_close(boxes, torch.stack(wanted), atol=2e-3, rtol=1e-4)
    torch.testing.assert_close(scores, probabilities[..., :-1], atol=1e-5, rtol=1e-3)


def test_channel_order_is_folded_both_ways(configs):
    cfg = load(configs / 'ssdlite_mobilenext_demo.py')
    model = random_detector(cfg)
    images = noise(2, (128, 128))
    rgb = np.ascontiguousarray(images[..., ::-1])
    wanted = predict(model, images)
    assert share_found(wanted, detections(model, cfg, rgb, 'rgb')) > 0.97
    # the order matters: else nothing was tested
    assert share_found(wanted, detections(model, cfg, rgb, 'bgr')) < 0.5
    model.data_preprocessor._channel_conversion = False
    assert share_found(predict(model, rgb), detections(model, cfg, images, 'rgb')) > 0.97


@pytest.mark.parametrize('size', [(160, 160), (192, 96), (100, 140)])
def test_another_size_keeps_the_priors_in_pixels(configs, size):
    cfg = load(configs / 'ssdlite_mobilenext_demo.py')
    model = random_detector(cfg)
    before = [anchors.clone() for anchors in model.bbox_head.prior_generator.base_anchors]
    with pytest.raises(ExportError, match=f'size {size[0]}x{size[1]}: the priors were made for'):
        DeployableDetector(model, size)
    levels = model.extract_feat(torch.zeros(1, 3, size[1], size[0]))
    resize_priors(model.bbox_head, cfg, size, [tuple(x.shape[-2:]) for x in levels])
    for anchors, others in zip(model.bbox_head.prior_generator.base_anchors, before, strict=True):
        # but for those that are cut to the input
        limit = torch.minimum(torch.tensor(size), torch.tensor(128)).float()
        shape, other = (boxes[:, 2:] - boxes[:, :2] for boxes in (anchors, others))
        torch.testing.assert_close(torch.minimum(shape, limit), torch.minimum(other, limit))
    images = noise(2, size)
    assert share_found(predict(model, images), detections(model, cfg, images)) > 0.97


def test_ssd300_of_mmdetection():
    """VGG, L2Norm, boxes that are clipped to the border and dropped if nothing is left."""
    cfg = load('mmdet::ssd/ssd300_coco.py')
    cfg.model.test_cfg.nms_pre = 1000000
    cfg.model.bbox_head.type = StockSSDHead
    cfg.model.bbox_head.num_classes = 5
    model = build_model(cfg)
    with torch.no_grad():
        model.neck.l2_norm.weight.fill_(20)
        for branch in model.bbox_head.reg_convs:
            branch[-1].bias.normal_(0, 4)  # many beyond the border
        for branch in model.bbox_head.cls_convs:
            branch[-1].bias.normal_(0, 1)
    images = noise(1, (300, 300))
    wanted = predict(model, images)
    assert share_found(wanted, detections(model, cfg, images)) > 0.97
    network = DeployableDetector(model, (300, 300))
    with torch.no_grad():
        boxes, scores = network(torch.from_numpy(images))
    empty = (boxes[..., 2:] <= boxes[..., :2]).any(-1)
    assert empty.any() and not scores[empty].any() and scores[~empty].all()


def test_checkpointed_blocks_and_a_model_in_training(configs):
    cfg = load(configs / 'ssdlite_mobilenext_demo.py')
    cfg.model.backbone.with_cp = True
    model = random_detector(cfg)
    images = noise(1, (128, 128))
    wanted = predict(model, images)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    model.train()
    assert share_found(wanted, detections(model, cfg, images)) > 0.97
    assert model.training and all(p.requires_grad for p in model.bbox_head.parameters())
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key


@pytest.mark.parametrize(
    ('name', 'said'),
    [
        ('retinanet/retinanet_mobilenext_fpn_small160_voc07.py', 'RetinaNet with RetinaHead'),
        ('fcos/fcos_mobilenext_fpn_1x_voc0712.py', 'FCOS with FCOSHead'),
        ('gfl/gfl_mobilenetv2_fpn96_1x_voc0712.py', 'GFL with GFLHead'),
        ('faster_rcnn/faster-rcnn_mobilenext_fpn_1x_voc0712.py', 'FasterRCNN cannot be exported'),
        ('yolox/yolox_mobilenext_tiny_300e_voc0712.py', 'YOLOX with YOLOXHead'),
    ],
)
def test_other_detectors_are_refused_by_name(configs, name, said):
    with pytest.raises(ExportError, match=said):
        check_exportable(build_model(load(configs / name)))


def test_other_preprocessors_are_refused(configs):
    cfg = load(configs / 'ssdlite_mobilenext_demo.py')
    model = build_model(cfg)
    model.data_preprocessor = DetDataPreprocessor(pad_mask=True)
    with pytest.raises(ExportError, match='without masks'):
        check_exportable(model)
    model.data_preprocessor = type('Other', (DetDataPreprocessor,), {})()
    with pytest.raises(ExportError, match='it is Other'):
        check_exportable(model)


class Misnamed(nn.Module):
    """The norm is named behind a convolution that it does not follow."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, 16, 1), nn.Conv2d(8, 8, 1)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x):
        return (self.second(self.norm(self.first(x))),)


class TwoEyes(nn.Module):
    """Two convolutions see the image."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 3, 16, 1), nn.Conv2d(3, 8, 3, 16, 1)

    def forward(self, x):
        return (self.one(x) + self.two(x),)


def detector_on(backbone):
    head = dict(
        type='SSDLiteHead',
        num_classes=2,
        in_channels=(8,),
        anchor_generator=dict(
            type='SSDLitePriorGenerator', strides=[16], min_sizes=[16], max_sizes=[32],
            ratios=[[2]], input_size=32,
        ),
    )  # fmt: skip
    cfg = ConfigDict(
        type='SingleStageDetector',
        backbone=dict(type='MobileNeXt'),
        bbox_head=head,
        data_preprocessor=dict(type='DetDataPreprocessor'),
    )
    model = build_model(Config(dict(model=cfg)))
    model.backbone = backbone.eval()
    return model


def test_a_norm_that_is_folded_wrongly_is_noticed():
    backbone = Misnamed()
    nn.init.normal_(backbone.norm.running_mean)
    nn.init.uniform_(backbone.norm.running_var, 0.1, 0.5)
    with pytest.raises(ExportError, match='computes something else'):
        DeployableDetector(detector_on(backbone), (32, 32))


def test_an_image_seen_by_two_convolutions_is_refused():
    with pytest.raises(ExportError, match='seen by Conv2d, Conv2d'):
        DeployableDetector(detector_on(TwoEyes()), (32, 32))
