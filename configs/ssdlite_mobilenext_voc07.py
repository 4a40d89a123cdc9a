# MobileNeXt SSDLite, 320x320, VOC07 alone, one GPU with batch 24.
_base_ = [
    './_base_/weights/mobilenext_in1k.py',
    './_base_/datasets/voc07_ssd320.py',
    './_base_/schedules/ssdlite_1xb24_72k.py',
]
