# MobileNetV2 SSDLite of width 0.5 with levels from stride 8 on: the other half
# of the pair with ssdlite_mobilenext_small.py, with the same head, priors and
# depth of extra levels. Not a published network. The priors are for 128x128.
_base_ = './ssdlite_mobilenetv2.py'

model = dict(
    backbone=dict(
        widen_factor=0.5,
        # tapped as in the published detector, at the outputs of the blocks and
        # of the last convolution: 16, 48 and 1280 channels at strides 8, 16, 32
        out_indices=(2, 4, 7),
    ),
    neck=dict(
        in_channels=(16, 48, 1280),
        out_channels=(16, 48, 1280, 256),
        expand_ratios=(0.2,),
    ),
    bbox_head=dict(
        in_channels=(16, 48, 1280, 256),
        # sizes from twice the stride on: sparser priors match too few objects
        anchor_generator=dict(
            input_size=128,
            strides=[8, 16, 32, 64],
            min_sizes=[16, 36, 68, 98],
            max_sizes=[36, 68, 98, 122],
            ratios=[[2, 3], [2, 3], [2, 3], [2, 3]],
        ),
        bbox_coder=dict(clip_border=True),
        # xavier starts with confident nonsense, which costs a short run a lot
        init_cfg=dict(type='Normal', layer='Conv2d', std=0.01),
    ),
)
