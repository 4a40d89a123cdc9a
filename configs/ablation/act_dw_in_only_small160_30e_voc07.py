# Activations behind the first depthwise convolution alone: a linear expansion.
_base_ = './sandglass_small160_30e_voc07.py'

model = dict(
    backbone=dict(
        block_cfg=dict(
            type='SandglassVariantBlock',
            activations=('dw_in',),
        )
    )
)
