# Width 0.35.
_base_ = './sandglass_small160_30e_voc07.py'

model = dict(
    backbone=dict(widen_factor=0.35),
    neck=dict(in_channels=(104, 200, 1280), out_channels=(104, 200, 1280, 256)),
    bbox_head=dict(in_channels=(104, 200, 1280, 256)),
)
