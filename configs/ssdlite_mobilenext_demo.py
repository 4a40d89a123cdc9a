# MobileNeXt SSDLite, small enough to learn the generated data set from scratch
# on two CPU cores in minutes: width 0.5, 160x160, five levels from stride 8 on.
# Not the published recipe; see ssdlite_mobilenext_voc.py for that.
_base_ = [
    './_base_/models/ssdlite_mobilenext.py', './_base_/datasets/generated_voc_ssd160.py',
    './_base_/default_runtime.py'
]

model = dict(
    backbone=dict(
        widen_factor=0.5,
        # 144, 288 and 480 channels at strides 8, 16 and 32
        out_indices=(3, 5, 6),
        taps=('expansion', 'expansion', 'output')),
    neck=dict(
        in_channels=(144, 288, 480),
        tap_indices=(0, 1, 2),
        out_channels=(144, 288, 480, 256, 128),
        expand_ratios=(0.25, 0.5)),
    bbox_head=dict(
        num_classes={{_base_.num_classes}},
        in_channels=(144, 288, 480, 256, 128),
        anchor_generator=dict(
            input_size=160,
            strides=[8, 16, 32, 54, 80],
            min_sizes=[16, 32, 56, 88, 120],
            max_sizes=[32, 56, 88, 120, 150],
            ratios=[[2, 3], [2, 3], [2, 3], [2, 3], [2, 3]]),
        bbox_coder=dict(clip_border=True)))

max_epochs = 12
train_cfg = dict(
    type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=max_epochs)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# A short run from scratch: AdamW and one cosine.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR',
        by_epoch=True,
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min=2e-5,
        convert_to_iter_based=True)
]

default_hooks = dict(
    logger=dict(interval=25), checkpoint=dict(max_keep_ckpts=1, save_best=None))
auto_scale_lr = dict(enable=False, base_batch_size=24)
