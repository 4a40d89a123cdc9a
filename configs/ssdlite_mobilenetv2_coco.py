# MobileNetV2 SSDLite, 320x320, COCO, one GPU with batch 32.
_base_ = [
    './_base_/models/ssdlite_mobilenetv2_coco.py',
    './_base_/datasets/coco_ssd320.py',
    './_base_/schedules/ssdlite_coco_1xb32_1600k.py',
]
