# Half of the check that fusing the augmentation loses no accuracy: the small
# MobileNeXt detector on VOC07 at 160x160 from scratch, with the whole published
# augmentation. The other half is augmentation_one_by_one_small160_voc07.py.
_base_ = [
    '../_base_/models/ssdlite_mobilenext_small160.py',
    '../_base_/datasets/voc07_ssd160.py',
    '../_base_/schedules/scratch_1xb8_12e.py',
]

ssd_augmentation = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='DropDifficult'),
    dict(
        type='SSDPhotoMetricDistortion',
        brightness_delta=32,
        contrast_range=(0.5, 1.5),
        saturation_range=(0.5, 1.5),
        hue_delta=18,
    ),
    dict(type='Expand', mean=[123, 117, 104], to_rgb=True, ratio_range=(1, 4), prob=0.5),
    dict(type='SSDRandomCrop', min_ious=(0.1, 0.3, 0.7, 0.9), min_crop_size=0.3),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Resize', scale=(160, 160), keep_ratio=False),
]
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='FusedSSDAugment', transforms=ssd_augmentation, fused=True),
            dict(type='PackDetInputs'),
        ]
    )
)
