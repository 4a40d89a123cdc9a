_base_ = './retinanet_small160.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        widen_factor=0.5,
        # 16, 48 and 1280 channels at strides 8, 16 and 32
        out_indices=(2, 4, 7),
        act_cfg=dict(type='InplaceReLU6'),
    ),
    neck=dict(in_channels=[16, 48, 1280]),
)
