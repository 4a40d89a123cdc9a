# Inverted residuals of about the multiply-adds of the baseline (docs/blocks.md).
_base_ = './inverted_residual_small160_30e_voc07.py'

model = dict(
    backbone=dict(widen_factor=0.55),
    neck=dict(in_channels=(160, 320, 1280), out_channels=(160, 320, 1280, 256)),
    bbox_head=dict(in_channels=(160, 320, 1280, 256)),
)
