# The published schedule cut to VOC07 alone (5,011 images): batch 24, 72,660
# iterations, which are the same 348 epochs.
_base_ = './ssdlite_1xb24_240k.py'

max_iters = 72660
train_cfg = dict(max_iters=max_iters, val_interval=5000)
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 3, by_epoch=False, begin=0, end=501),
    dict(type='MultiStepLR', by_epoch=False, milestones=[48440, 60550], gamma=0.1),
]
