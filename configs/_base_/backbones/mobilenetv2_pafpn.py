# What changes in a detector with a neck of three levels, such as that of YOLOX or RTMDet, when
# MobileNetV2 takes the place of its backbone: strides 8, 16 and 32.
_base_ = '../weights/optional.py'

mobilenetv2_pafpn = dict(
    # of the training that the ImageNet weights are from, whatever the replaced backbone had
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True
    ),
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        # see mobilenetv2_fpn.py
        out_indices=(2, 4, 7),
        act_cfg=dict(type='InplaceReLU6'),
        init_cfg=dict(
            type='Pretrained',
            checkpoint='{{$WEIGHTS_ROOT:weights}}/mobilenetv2_1.0_in1k.pth',
            prefix='backbone.',
        ),
    ),
    # Necks that take their own widths from in_channels (YOLOXPAFPN, CSPNeXtPAFPN) get heavy by the
    # 1280; configs/yolox puts a ChannelMapper in front.
    neck=dict(in_channels=[32, 96, 1280]),
)
