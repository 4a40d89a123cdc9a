# A short run from scratch on a CPU whose learning rate falls as the published
# one does: by ten after two thirds and after five sixths of the run.
_base_ = './scratch_1xb8_12e.py'

train_cfg = dict(max_epochs=16, val_interval=8)
# 313 iterations an epoch of VOC2007 train in batches of 8
max_iters = 16 * 313
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, by_epoch=False, begin=0, end=50),
    dict(
        type='MultiStepLR',
        by_epoch=False,
        milestones=[max_iters * 2 // 3, max_iters * 5 // 6],
        gamma=0.1,
    ),
]
