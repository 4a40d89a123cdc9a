# MobileNeXt in place of the backbone: strides 8, 16 and 32. See docs/swap_backbones.md.
_base_ = ['../backbones/mobilenext_pafpn.py', '../weights/hooks.py']

model = {{_base_.mobilenext_pafpn}}
