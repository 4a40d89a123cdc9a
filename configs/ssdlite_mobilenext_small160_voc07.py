# A small detector on VOC07 alone at 160x160, from scratch on a CPU in 10 epochs:
# for trying things on real images, not for good results.
_base_ = [
    './_base_/models/ssdlite_mobilenext_small160.py',
    './_base_/datasets/voc07_ssd160.py',
    './_base_/schedules/scratch_1xb8_12e.py',
]

max_epochs = 10
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
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
