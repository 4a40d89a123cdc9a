# SPDX-License-Identifier: Apache-2.0
"""A small SSDLite head and inputs for it, shared by the tests of loss and prediction."""

import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

LEVELS = (4, 2)
SIDE = 64
TEST_CFG = ConfigDict(
    score_thr=0.01,
    nms_pre=100000,
    nms=dict(type='nms', iou_threshold=0.45),
    min_bbox_size=-1,
    max_per_img=100,
)


def small_head(
    num_classes=5, clip_border=False, levels=LEVELS, assigner=None, means=None, ratios=None, **cfg
):
    """Six priors a cell unless ratios say other; levels are the cells along 64 pixels."""
    count = len(levels)
    sizes = [20 + 14 * i for i in range(count + 1)]
    return MODELS.build(
        dict(
            type='SSDLiteHead',
            num_classes=num_classes,
            in_channels=(8,) * count,
            anchor_generator=dict(
                type='SSDLitePriorGenerator',
                strides=[SIDE // n for n in levels],
                min_sizes=sizes[:-1],
                max_sizes=sizes[1:],
                ratios=ratios or [[2, 3]] * count,
                input_size=SIDE,
            ),
            bbox_coder=dict(
                type='DeltaXYWHBBoxCoder',
                target_means=means or [0.0] * 4,
                target_stds=[0.1, 0.1, 0.2, 0.2],
                clip_border=clip_border,
            ),
            train_cfg=dict(assigner=assigner or dict(type='BatchMaxIoUAssigner')),
            test_cfg=TEST_CFG,
            **cfg,
        )
    )


def outputs(num_images, num_classes=5, levels=LEVELS, background=0.0, device='cpu'):
    """Class scores and box offsets as the head hands them over."""
    cls_scores, bbox_preds = [], []
    for size in levels:
        scores = torch.randn(num_images, 6, num_classes + 1, size, size, device=device)
        scores[:, :, -1] += background
        cls_scores.append(scores.flatten(1, 2).requires_grad_())
        bbox_preds.append(
            torch.randn(num_images, 24, size, size, device=device, requires_grad=True)
        )
    return cls_scores, bbox_preds


def ground_truth(counts, num_classes=5, device='cpu'):
    """Random boxes, as many for each image as counts says."""
    made = []
    for count in counts:
        corners = torch.rand(count, 2, 2, device=device) * (SIDE - 12)
        boxes = torch.cat([corners.amin(1), corners.amax(1) + 12], 1)
        labels = torch.randint(num_classes, (count,), device=device)
        made.append(InstanceData(bboxes=boxes, labels=labels))
    return made


def metas(num_images):
    """Meta of images that fill the input."""
    shape = (SIDE, SIDE)
    return [
        dict(img_shape=shape, pad_shape=shape, batch_input_shape=shape, scale_factor=(1.0, 1.0))
        for _ in range(num_images)
    ]
