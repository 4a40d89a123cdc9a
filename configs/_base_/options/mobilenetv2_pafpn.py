# MobileNetV2 in place of the backbone: strides 8, 16 and 32. See docs/swap_backbones.md.
_base_ = ['../backbones/mobilenetv2_pafpn.py', '../weights/hooks.py']

model = {{_base_.mobilenetv2_pafpn}}
