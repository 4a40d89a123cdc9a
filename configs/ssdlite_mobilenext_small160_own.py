# A small detector on a set of your own, 160x160, from scratch in 30 epochs on a
# CPU. To be inherited by a config that names data_root and classes: docs/own_data.md.
_base_ = [
    './_base_/models/ssdlite_mobilenext_small160.py',
    './_base_/datasets/own_voc_ssd160.py',
    './_base_/schedules/scratch_1xb8_30e.py',
]

model = dict(bbox_head=dict(num_classes={{_base_.num_classes}}))
