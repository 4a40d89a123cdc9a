# SSDLite with an FPN of five levels of 128 channels from stride 8 on: sizes, ratios and channels
# are the authors', whose code of it is not public. The FPN is MMDetection's, with its plain 3x3
# convolutions: no published figure tells whether theirs are separable.
_base_ = '../weights/mobilenext_in1k.py'

model = dict(
    backbone=dict(
        # 288, 576 and 1280 channels at strides 8, 16 and 32
        out_indices=(3, 5, 7),
        taps=('expansion', 'expansion', 'output'),
    ),
    neck=dict(
        _delete_=True,
        type='FPN',
        in_channels=[288, 576, 1280],
        out_channels=128,
        num_outs=5,
        add_extra_convs='on_output',
    ),
    bbox_head=dict(
        in_channels=(128, 128, 128, 128, 128),
        # 12,804 priors, six at every location of 40x40, 20x20, 10x10, 5x5 and 3x3
        anchor_generator=dict(
            strides=[8, 16, 32, 64, 128],
            min_sizes=[45, 90, 135, 180, 270],
            max_sizes=[90, 135, 180, 270, 315],
            ratios=[[2, 3], [2, 3], [2, 3], [2, 3], [2, 3]],
        ),
    ),
    # all priors x classes: nothing is cut before NMS
    test_cfg=dict(nms_pre=1000000),
)
