# Published COCO schedule on one GPU: batch 32, 1,600,000 iterations.
_base_ = '../default_runtime.py'

max_iters = 1600000
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=40000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-2, momentum=0.9, weight_decay=4e-5)
)

# lr(t) = base * w(t) * (1 + cos(pi t / max_iters)) / 2 with w(t) = f (1 - t / W) + t / W for
# t < W = 500: the cosine falls during the warm-up as well. mmengine reaches the full rate at
# iteration `end - 1`, hence the 501.
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 3, by_epoch=False, begin=0, end=501),
    dict(
        type='CosineAnnealingLR',
        by_epoch=False,
        begin=0,
        end=max_iters,
        T_max=max_iters,
        eta_min=0,
    ),
]

default_hooks = dict(checkpoint=dict(by_epoch=False, interval=20000, save_best='coco/bbox_mAP'))
log_processor = dict(by_epoch=False)

# NOTE: `auto_scale_lr` scales the learning rate with the batch size when
# --auto-scale-lr is given. USER SHOULD NOT CHANGE base_batch_size.
auto_scale_lr = dict(enable=False, base_batch_size=32)
