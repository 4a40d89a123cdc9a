# Published schedule as the authors ran it: 4 GPUs, batch 4 x 24 = 96, 60,000
# iterations.
_base_ = './ssdlite_1xb24_240k.py'

max_iters = 60000
train_cfg = dict(max_iters=max_iters, val_interval=2500)

optim_wrapper = dict(optimizer=dict(lr=4e-3))

# W = 1,000 from 0.1333
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1333, by_epoch=False, begin=0, end=1001),
    dict(type='MultiStepLR', by_epoch=False, milestones=[40000, 50000], gamma=0.1),
]

default_hooks = dict(checkpoint=dict(interval=2500))

# USER SHOULD NOT CHANGE base_batch_size.
auto_scale_lr = dict(enable=False, base_batch_size=96)
