# MobileNetV2 of width 1.4. The MobileNeXt paper reports a top-1 of 74.9.
_base_ = './mobilenetv2_1.0_in1k.py'

model = dict(backbone=dict(widen_factor=1.4), head=dict(in_channels=1792))
