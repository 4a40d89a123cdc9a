# ImageNet-1k at 224x224. The augmentation is that of the authors' training script
# (their fork of timm with its defaults: crop of 8 to 100 % of the area, mirror,
# colour jitter 0.4; test: central 87.5 %, bicubic), not from the paper.
data_root = '{{$IMAGENET_ROOT:data/imagenet}}'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    # one of the two at random for each crop
    dict(
        type='RandomChoice',
        transforms=[
            [dict(type='RandomResizedCrop', scale=224, backend='pillow', interpolation='bilinear')],
            [dict(type='RandomResizedCrop', scale=224, backend='pillow', interpolation='bicubic')],
        ],
    ),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=256, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='ImageNetFolder',
        data_root=data_root,
        split='train',
        needed_splits=('val',),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(type='ImageNetFolder', data_root=data_root, split='val', pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
