# MobileNetV2 of width 0.35.
_base_ = './mobilenetv2_1.0_in1k.py'

model = dict(backbone=dict(widen_factor=0.35))
