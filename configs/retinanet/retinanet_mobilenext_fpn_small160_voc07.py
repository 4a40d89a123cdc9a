# RetinaNet with MobileNeXt of width 0.5, 160x160, from scratch on a CPU in 16 epochs of VOC07
# train, tested on VOC07 val. See docs/results/retinanet_small160.md.
_base_ = [
    '../_base_/models/retinanet_mobilenext_small160.py',
    '../_base_/datasets/voc07_ssd160_tune.py',
    '../_base_/schedules/scratch_1xb8_16e_cosine.py',
]
