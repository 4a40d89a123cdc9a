# Objects of the generated VOC-format set, cut out at 32x32 by `tools/search.py
# crops`. The halves of the training images are for the search.
data_root = '{{$CROPS_ROOT:data/crops_generated}}'
classes = ('aeroplane', 'bicycle', 'boat', 'bottle', 'car', 'chair', 'person', 'tvmonitor')
num_classes = 8
metainfo = dict(classes=classes)
# what `tools/search.py crops` cuts out
crops = dict(
    voc_root='{{$GENERATED_VOC_ROOT:data/VOCdevkit_generated}}',
    train_list='VOC2007/ImageSets/Main/train.txt',
    test_list='VOC2007/ImageSets/Main/test.txt',
    size=32,
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]

train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    drop_last=True,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CustomDataset',
        data_root=data_root,
        ann_file='meta/train.txt',
        data_prefix='train',
        metainfo=metainfo,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=256,
    num_workers=0,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='CustomDataset',
        data_root=data_root,
        ann_file='meta/test.txt',
        data_prefix='test',
        metainfo=metainfo,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
