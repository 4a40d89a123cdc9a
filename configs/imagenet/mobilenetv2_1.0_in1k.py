# MobileNetV2 under MobileNeXt's recipe. The MobileNeXt paper reports a top-1 of 72.3.
_base_ = './mobilenext_1.0_in1k.py'

model = dict(
    # MMDetection's class, as in the detectors: mmpretrain's own MobileNetV2 has
    # other keys.
    backbone=dict(
        _delete_=True,
        type='mmdet.MobileNetV2',
        widen_factor=1.0,
        out_indices=(7,),
        norm_cfg=dict(type='BN'),
        act_cfg=dict(type='InplaceReLU6'),
    ),
)
