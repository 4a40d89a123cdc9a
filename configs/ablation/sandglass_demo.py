# The block comparison (docs/blocks.md) on generated data at 128x128, its baseline:
# sandglass blocks as published, width 0.5, from scratch on two CPU cores in minutes.
_base_ = [
    '../_base_/models/ssdlite_blocks_small.py',
    '../_base_/datasets/generated_voc_ssd128.py',
    '../_base_/schedules/scratch_1xb8_12e.py',
]

model = dict(bbox_head=dict(num_classes={{_base_.num_classes}}))
