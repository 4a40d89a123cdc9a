# The detector with MobileNetV2 as the authors trained it on COCO: the focal loss instead of softmax
# and hard negatives, other sizes of the priors, and four priors instead of six on the last level.
# Their network has an 81st output for each prior, which is trained to no class: left out here.
_base_ = '../weights/mobilenetv2_in1k.py'

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
