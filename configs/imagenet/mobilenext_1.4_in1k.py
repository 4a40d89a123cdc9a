# MobileNeXt of width 1.4. Published top-1: 76.1.
_base_ = './mobilenext_1.0_in1k.py'

model = dict(backbone=dict(widen_factor=1.4), head=dict(in_channels=1792))
