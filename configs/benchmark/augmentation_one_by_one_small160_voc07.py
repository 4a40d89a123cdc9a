# augmentation_fused_small160_voc07.py with the transforms applied one by one.
_base_ = './augmentation_fused_small160_voc07.py'

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='FusedSSDAugment', transforms={{_base_.ssd_augmentation}}, fused=False),
            dict(type='PackDetInputs'),
        ]
    )
)
