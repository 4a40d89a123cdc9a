# Activations behind the expansion alone: a linear first depthwise convolution.
_base_ = './sandglass_small160_30e_voc07.py'

model = dict(
    backbone=dict(
        block_cfg=dict(
            type='SandglassVariantBlock',
            activations=('pw_expand',),
        )
    )
)
