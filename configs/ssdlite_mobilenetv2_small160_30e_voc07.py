# MobileNetV2 half of the small comparison on VOC07: width 0.5, 160x160, from scratch
# on a CPU in 30 epochs. See docs/results/voc07_small160.md.
_base_ = [
    './_base_/models/ssdlite_mobilenetv2_small160.py',
    './_base_/datasets/voc07_ssd160.py',
    './_base_/schedules/scratch_1xb8_12e.py',
]

max_epochs = 30
train_cfg = dict(max_epochs=max_epochs, val_interval=5)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        by_epoch=True,
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min=3e-5,
        convert_to_iter_based=True,
    ),
]
