# MobileNeXt of width 0.75. Published top-1: 72.0.
_base_ = './mobilenext_1.0_in1k.py'

model = dict(backbone=dict(widen_factor=0.75))
