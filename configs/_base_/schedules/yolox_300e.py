# MMDetection's schedule for YOLOX: 300 epochs in batches of 64 (eight GPUs with eight images each),
# without mosaic in the last 15, with an average of the weights.
_base_ = 'mmdet::yolox/yolox_tiny_8xb8-300e_coco.py'

# the schedule alone
list(
    map(
        _base_.pop,
        set(_base_)
        - {
            'train_cfg',
            'val_cfg',
            'test_cfg',
            'optim_wrapper',
            'param_scheduler',
            'custom_hooks',
            'auto_scale_lr',
        },
    )
)
