# MobileNeXt whose shortcuts carry a sixth of the channels. Published top-1: 73.68.
# A detector must be given the same multiplier: no key of the checkpoint tells it.
_base_ = './mobilenext_1.0_in1k.py'

model = dict(backbone=dict(identity_tensor_multiplier=1 / 6))
