# The detector with MobileNeXt, its backbone from ImageNet weights if they are there:
#   python tools/weights.py fetch mobilenext_1.0_in1k
# WEIGHTS_ROOT is another folder for them; init_cfg=None trains from scratch on purpose.
_base_ = ['../models/ssdlite_mobilenext.py', './optional.py']

model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='{{$WEIGHTS_ROOT:weights}}/mobilenext_1.0_in1k.pth',
            prefix='backbone.',
        )
    )
)
