_base_ = './ssdlite.py'

model = dict(
    backbone=dict(
        type='MobileNeXt',
        widen_factor=1.0,
        identity_tensor_multiplier=1.0,
        # 576 channels at stride 16 and 1280 at stride 32 for the head, and
        # the output of the last stage for the extra levels
        out_indices=(5, 7, 7),
        taps=('expansion', 'expansion', 'output'),
        norm_cfg=dict(type='BN'),
        act_cfg=dict(type='InplaceReLU6'),
    ),
    neck=dict(
        in_channels=(576, 1280, 1280),
        tap_indices=(0, 1),
        out_channels=(576, 1280, 512, 256, 256, 128),
        expand_ratios=(0.2, 0.25, 0.5, 0.5),
        extra_type='sandglass',
    ),
    bbox_head=dict(in_channels=(576, 1280, 512, 256, 256, 128)),
)
