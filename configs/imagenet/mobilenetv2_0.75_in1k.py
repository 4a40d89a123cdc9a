# MobileNetV2 of width 0.75. The MobileNeXt paper reports a top-1 of 69.9.
_base_ = './mobilenetv2_1.0_in1k.py'

model = dict(backbone=dict(widen_factor=0.75))
