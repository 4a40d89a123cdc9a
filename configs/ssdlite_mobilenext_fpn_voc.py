# MobileNeXt SSDLite with an FPN, 320x320, VOC07+12, one GPU with batch 24. Not a published
# training.
_base_ = [
    './_base_/models/ssdlite_mobilenext_fpn.py',
    './_base_/datasets/voc0712_ssd320.py',
    './_base_/schedules/ssdlite_1xb24_240k.py',
]
