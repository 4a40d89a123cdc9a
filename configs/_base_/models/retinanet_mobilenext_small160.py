_base_ = './retinanet_small160.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='MobileNeXt',
        widen_factor=0.5,
        # 96, 192 and 1280 channels at strides 8, 16 and 32
        out_indices=(2, 4, 7),
        act_cfg=dict(type='InplaceReLU6'),
    ),
    neck=dict(in_channels=[96, 192, 1280]),
)
