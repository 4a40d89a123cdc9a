# The other half of the embedded comparison; see ssdlite_mobilenext_demo.py.
_base_ = [
    './_base_/models/ssdlite_mobilenetv2_small.py',
    './_base_/datasets/generated_voc_ssd128.py',
    './_base_/schedules/scratch_1xb8_12e.py',
]

model = dict(bbox_head=dict(num_classes={{_base_.num_classes}}))
