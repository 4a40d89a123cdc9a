# MobileNetV2 SSDLite with an FPN, 320x320, COCO, one GPU with batch 32. Loss and schedule are those
# of ssdlite_mobilenetv2_coco.py: the authors' files have the focal loss for MobileNetV2 alone, and
# two steps within the first 360,000 of 1,600,000 iterations.
_base_ = [
    './_base_/models/ssdlite_mobilenetv2_fpn.py',
    './_base_/datasets/coco_ssd320.py',
    './_base_/schedules/ssdlite_coco_1xb32_1600k.py',
]

model = dict(
    bbox_head=dict(
        num_classes=80,
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
    test_cfg=dict(score_thr=0.05, nms=dict(iou_threshold=0.5)),
)
