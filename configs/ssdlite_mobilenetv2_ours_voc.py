# MobileNetV2 SSDLite, 320x320, VOC07+12, one GPU with batch 24: this project's recipe, not the
# published one. What differs and why: docs/recipe.md.
_base_ = [
    './_base_/weights/mobilenetv2_in1k.py',
    './_base_/datasets/voc0712_ssd320.py',
    './_base_/schedules/ssdlite_1xb24_240k_cosine.py',
]
