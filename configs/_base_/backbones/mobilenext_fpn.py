# What changes in a detector with an FPN when MobileNeXt takes the place of its backbone: strides
# 4, 8, 16 and 32. How it gets into a config: docs/swap_backbones.md.
_base_ = '../weights/optional.py'

mobilenext_fpn = dict(
    # of the training that the ImageNet weights are from, whatever the replaced backbone had
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True
    ),
    backbone=dict(
        _delete_=True,
        type='MobileNeXt',
        # The last tensor at each stride, as an FPN takes it. At stride 16 that is the output of
        # stage 4 with 384 channels; the expansion inside stage 5, which SSDLite reads, has been
        # through two pointwise convolutions more, sees nothing more of the image, and makes the
        # lateral convolution half again as wide with its 576.
        out_indices=(1, 2, 4, 7),
        act_cfg=dict(type='InplaceReLU6'),
        init_cfg=dict(
            type='Pretrained',
            checkpoint='{{$WEIGHTS_ROOT:weights}}/mobilenext_1.0_in1k.pth',
            prefix='backbone.',
        ),
    ),
    neck=dict(in_channels=[144, 192, 384, 1280]),
)
