# YOLOX-tiny with one neck for every backbone, VOC07+12, eight GPUs with eight images each. The
# backbone of reference, CSPDarknet; the files beside it change nothing else.
_base_ = [
    '../_base_/models/yolox_tiny.py',
    '../_base_/datasets/voc0712_yolox.py',
    '../_base_/schedules/yolox_300e.py',
    '../_base_/default_runtime.py',
]

model = dict(bbox_head=dict(num_classes=20))

# the first metric: mAP of VOC or COCO
default_hooks = dict(checkpoint=dict(interval=10, save_best='auto'))
