# MobileNetV2 SSDLite, 320x320, VOC07+12 from a COCO detector, one GPU with batch 24: the head of
# COCO with VOC's classes, and this project's schedule. Not a published training: docs/recipe.md.
_base_ = [
    './_base_/models/ssdlite_mobilenetv2_coco.py',
    './_base_/datasets/voc0712_ssd320.py',
    './_base_/schedules/ssdlite_1xb24_240k_cosine.py',
]

model = dict(
    bbox_head=dict(num_classes=20),
    test_cfg=dict(score_thr=0.01, nms=dict(iou_threshold=0.45)),
)
