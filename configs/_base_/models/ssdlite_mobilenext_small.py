# MobileNeXt SSDLite of width 0.5 with levels from stride 8 on, for small inputs
# and training from scratch. Not a published network. The priors are for 128x128.
_base_ = './ssdlite_mobilenext.py'

model = dict(
    backbone=dict(
        widen_factor=0.5,
        # 144, 288 and 480 channels at strides 8, 16 and 32
        out_indices=(3, 5, 6),
        taps=('expansion', 'expansion', 'output'),
    ),
    neck=dict(
        in_channels=(144, 288, 480),
        tap_indices=(0, 1, 2),
        out_channels=(144, 288, 480, 256),
        expand_ratios=(0.25,),
    ),
    bbox_head=dict(
        in_channels=(144, 288, 480, 256),
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
