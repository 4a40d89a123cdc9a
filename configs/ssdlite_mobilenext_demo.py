# The demo: learns the generated data set from scratch on two CPU cores in
# minutes. Not the published recipe; see ssdlite_mobilenext_voc.py for that.
_base_ = [
    './_base_/models/ssdlite_mobilenext_small.py',
    './_base_/datasets/generated_voc_ssd128.py',
    './_base_/schedules/scratch_1xb8_12e.py',
]

model = dict(bbox_head=dict(num_classes={{_base_.num_classes}}))
