# MobileNetV2 SSDLite, 320x320, VOC07+12, four GPUs with batch 24 each: this project's recipe, not
# the published one. What differs and why: docs/recipe.md.
_base_ = [
    './_base_/weights/mobilenetv2_in1k.py',
    './_base_/datasets/voc0712_ssd320.py',
    './_base_/schedules/ssdlite_4xb24_60k_cosine.py',
]

# as in the published training, processes each divide by their own positives
model = dict(bbox_head=dict(sync_num_pos=False))
