# ResNet-18 SSDLite, 320x320, VOC07+12, one GPU with batch 24: a heavier reference.
_base_ = [
    './_base_/models/ssdlite_resnet18.py',
    './_base_/datasets/voc0712_ssd320.py',
    './_base_/schedules/ssdlite_1xb24_240k.py',
]
