_base_ = './ssdlite.py'

model = dict(
    backbone=dict(
        type='MobileNetV2',
        widen_factor=1.0,
        # 96 channels at stride 16 and 1280 at stride 32
        out_indices=(4, 7),
        norm_cfg=dict(type='BN'),
        act_cfg=dict(type='InplaceReLU6'),
    ),
    neck=dict(
        in_channels=(96, 1280),
        out_channels=(96, 1280, 512, 256, 256, 64),
        expand_ratios=(0.2, 0.5, 0.5, 0.5),
        extra_type='inverted_residual',
    ),
    bbox_head=dict(in_channels=(96, 1280, 512, 256, 256, 64)),
)
