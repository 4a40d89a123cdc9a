# Published schedule on one GPU: batch 24, 240,000 iterations.
_base_ = '../default_runtime.py'

max_iters = 240000
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=10000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-3, momentum=0.9, weight_decay=5e-4)
)

# lr(t) = base * (f (1 - t / W) + t / W) for t < W = 500. mmengine reaches the
# full rate at iteration `end - 1`, hence the 501.
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 3, by_epoch=False, begin=0, end=501),
    dict(type='MultiStepLR', by_epoch=False, milestones=[160000, 200000], gamma=0.1),
]

default_hooks = dict(checkpoint=dict(by_epoch=False, interval=5000))
log_processor = dict(by_epoch=False)

# NOTE: `auto_scale_lr` scales the learning rate with the batch size when
# --auto-scale-lr is given. USER SHOULD NOT CHANGE base_batch_size.
auto_scale_lr = dict(enable=False, base_batch_size=24)
