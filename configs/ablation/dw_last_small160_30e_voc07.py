# Only the last depthwise convolution stays.
_base_ = './sandglass_small160_30e_voc07.py'

model = dict(
    backbone=dict(
        block_cfg=dict(
            type='SandglassVariantBlock',
            depthwise='last',
        )
    )
)
