# An activation behind the last depthwise convolution as well.
_base_ = './sandglass_small160_30e_voc07.py'

model = dict(
    backbone=dict(
        block_cfg=dict(
            type='SandglassVariantBlock',
            activations=('dw_in', 'pw_expand', 'dw_out'),
        )
    )
)
