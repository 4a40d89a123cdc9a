# MobileNeXt SSDLite, 320x320, VOC07 alone, one GPU with batch 24.
# The published schedule cut to the same 348 epochs: the set is 5,011 images.
_base_ = [
    './_base_/models/ssdlite_mobilenext.py',
    './_base_/datasets/voc07_ssd320.py',
    './_base_/schedules/ssdlite_1xb24_240k.py',
]

max_iters = 72660
train_cfg = dict(max_iters=max_iters, val_interval=5000)
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 3, by_epoch=False, begin=0, end=501),
    dict(type='MultiStepLR', by_epoch=False, milestones=[48440, 60550], gamma=0.1),
]
