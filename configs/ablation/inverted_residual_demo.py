# Inverted residuals as MobileNetV2's: shortcut between bottlenecks, one depthwise
# convolution at the high dimension.
_base_ = './sandglass_demo.py'

model = dict(
    backbone=dict(
        block_cfg=dict(
            type='SandglassVariantBlock',
            depthwise='last',
            shortcut='bottleneck',
            activations=('pw_expand', 'dw_out'),
        )
    )
)
