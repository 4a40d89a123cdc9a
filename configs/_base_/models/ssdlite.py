# Everything the two published detectors share. Backbone, extra levels and head
# inputs are in ssdlite_mobilenext.py and ssdlite_mobilenetv2.py.
model = dict(
    type='SingleStageDetector',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123, 117, 104],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=1,
    ),
    neck=dict(type='SSDLiteNeck', norm_cfg=dict(type='BN'), act_cfg=dict(type='InplaceReLU6')),
    bbox_head=dict(
        type='SSDLiteHead',
        num_classes=20,
        norm_cfg=dict(type='BN'),
        act_cfg=dict(type='InplaceReLU6'),
        # 3,234 priors, six at every location
        anchor_generator=dict(
            type='SSDLitePriorGenerator',
            input_size=320,
            strides=[16, 32, 64, 120, 160, 320],
            min_sizes=[45, 90, 135, 180, 225, 270],
            max_sizes=[120, 180, 220, 260, 300, 320],
            ratios=[[2, 3], [2, 3], [2, 3], [2, 3], [2, 3], [2, 3]],
        ),
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder',
            target_means=[0.0, 0.0, 0.0, 0.0],
            target_stds=[0.1, 0.1, 0.2, 0.2],
            # boxes are evaluated as predicted, also beyond the border
            clip_border=False,
        ),
        loss_cls=dict(type='CrossEntropyLoss', loss_weight=1.0),
        loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0),
    ),
    train_cfg=dict(
        # IoU >= 0.5, and each ground truth takes its best prior
        assigner=dict(type='BatchMaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5),
        neg_pos_ratio=3,
    ),
    test_cfg=dict(
        score_thr=0.01,
        # all priors x classes: nothing is cut before NMS
        nms_pre=100000,
        nms=dict(type='nms', iou_threshold=0.45),
        min_bbox_size=-1,
        max_per_img=100,
    ),
)
