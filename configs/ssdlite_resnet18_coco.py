# ResNet-18 SSDLite, 320x320, COCO, one GPU with batch 32: a heavier reference. Loss, priors and
# schedule are those of ssdlite_mobilenext_coco.py.
_base_ = [
    './_base_/models/ssdlite_resnet18.py',
    './_base_/datasets/coco_ssd320.py',
    './_base_/schedules/ssdlite_coco_1xb32_1600k.py',
]

model = dict(
    bbox_head=dict(
        num_classes=80,
        # 3,232 priors
        anchor_generator=dict(
            max_sizes=[90, 135, 180, 225, 270, 315],
            ratios=[[2, 3], [2, 3], [2, 3], [2, 3], [2, 3], [2]],
        ),
        loss_cls=dict(
            _delete_=True,
            type='FocalLoss',
            use_sigmoid=True,
            gamma=2.0,
            alpha=0.25,
            loss_weight=5.0,
        ),
    ),
    train_cfg=dict(neg_pos_ratio=None),
    # nms_pre: all priors x classes, as in ssdlite.py
    test_cfg=dict(score_thr=0.05, nms_pre=1000000, nms=dict(iou_threshold=0.5)),
)
