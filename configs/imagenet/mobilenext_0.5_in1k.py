# MobileNeXt of width 0.5. Published top-1: 67.7.
_base_ = './mobilenext_1.0_in1k.py'

model = dict(backbone=dict(widen_factor=0.5))
