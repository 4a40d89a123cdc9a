# Width 0.75.
_base_ = './sandglass_small160_30e_voc07.py'

model = dict(
    backbone=dict(widen_factor=0.75),
    neck=dict(in_channels=(216, 432, 1280), out_channels=(216, 432, 1280, 256)),
    bbox_head=dict(in_channels=(216, 432, 1280, 256)),
)
