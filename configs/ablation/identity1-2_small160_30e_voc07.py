# Shortcuts that carry half of the channels.
_base_ = './sandglass_small160_30e_voc07.py'

model = dict(backbone=dict(identity_tensor_multiplier=1 / 2))
