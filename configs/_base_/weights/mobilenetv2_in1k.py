# The detector with MobileNetV2, its backbone from ImageNet weights if they are there:
#   python tools/weights.py fetch mobilenetv2_1.0_in1k
# WEIGHTS_ROOT is another folder for them; init_cfg=None trains from scratch on purpose.
_base_ = ['../models/ssdlite_mobilenetv2.py', './optional.py']

model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='{{$WEIGHTS_ROOT:weights}}/mobilenetv2_1.0_in1k.pth',
            prefix='backbone.',
        )
    )
)
