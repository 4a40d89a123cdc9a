# What changes in a detector with an FPN when MobileNetV2 takes the place of its backbone: strides
# 4, 8, 16 and 32. How it gets into a config: docs/swap_backbones.md.
_base_ = '../weights/optional.py'

mobilenetv2_fpn = dict(
    # of the training that the ImageNet weights are from, whatever the replaced backbone had
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True
    ),
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        # the last tensor at each stride; MMDetection's class builds all stages, so that one that
        # is not read has parameters without gradients
        out_indices=(1, 2, 4, 7),
        act_cfg=dict(type='InplaceReLU6'),
        init_cfg=dict(
            type='Pretrained',
            checkpoint='{{$WEIGHTS_ROOT:weights}}/mobilenetv2_1.0_in1k.pth',
            prefix='backbone.',
        ),
    ),
    neck=dict(in_channels=[24, 32, 96, 1280]),
)
