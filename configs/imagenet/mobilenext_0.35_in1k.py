# MobileNeXt of width 0.35. Published top-1: 64.7.
_base_ = './mobilenext_1.0_in1k.py'

model = dict(backbone=dict(widen_factor=0.35))
