# The block comparison (docs/blocks.md), its baseline: sandglass blocks as published,
# width 0.5, VOC07 at 160x160, from scratch on a CPU in 30 epochs.
_base_ = [
    '../_base_/models/ssdlite_blocks_small160.py',
    '../_base_/datasets/voc07_ssd160.py',
    '../_base_/schedules/scratch_1xb8_30e.py',
]
