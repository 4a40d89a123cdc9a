# Classical bottlenecks as ResNet's, with a depthwise convolution: shortcut between
# high dimensions, spatial convolution and activations inside. Blocks with stride 2
# end with a depthwise convolution, so that the head reads the same tensors.
_base_ = './sandglass_demo.py'

model = dict(
    backbone=dict(
        block_cfg=dict(
            type='SandglassVariantBlock',
            depthwise='bottleneck',
            activations=('pw_reduce', 'dw_mid', 'sum'),
        )
    )
)
