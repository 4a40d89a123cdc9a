# One depthwise convolution in the bottleneck instead of two at the high dimension;
# blocks with stride 2 keep theirs.
_base_ = './sandglass_small160_30e_voc07.py'

model = dict(
    backbone=dict(
        block_cfg=dict(
            type='SandglassVariantBlock',
            depthwise='bottleneck',
        )
    )
)
