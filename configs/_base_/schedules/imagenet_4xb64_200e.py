# From the paper: 200 epochs, SGD with momentum 0.9 and weight decay
# 4e-5, learning rate 0.05 with cosine schedule, batch 256 on 4 GPUs.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=200, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# From the authors' training script (https://github.com/yitu-opensource/MobileNeXt,
# mobilenext/train.py), not from the paper: Nesterov momentum, no weight decay on
# norms and biases, three epochs of warm-up from 1e-4, end at 1e-5.
# Where the script says otherwise than the paper (learning rate 0.1, weight decay
# 1e-4, 128 images a process) the paper holds, and what only the script has is
# left out: an average of the weights (EMA 0.9998), 10 more epochs at 1e-5. Which
# of the two the published weights come from is unknown.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=4e-5, nesterov=True),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-4 / 0.05,
        by_epoch=True,
        begin=0,
        end=3,
        convert_to_iter_based=True,
    ),
    dict(type='CosineAnnealingLR', T_max=197, eta_min=1e-5, by_epoch=True, begin=3, end=200),
]

# USER SHOULD NOT CHANGE base_batch_size.
auto_scale_lr = dict(enable=False, base_batch_size=256)
