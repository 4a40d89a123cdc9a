# MobileNetV2 half of the small comparison on VOC07: width 0.5, 160x160, from scratch
# on a CPU in 30 epochs. See docs/results/voc07_small160.md.
_base_ = [
    './_base_/models/ssdlite_mobilenetv2_small160.py',
    './_base_/datasets/voc07_ssd160.py',
    './_base_/schedules/scratch_1xb8_30e.py',
]
