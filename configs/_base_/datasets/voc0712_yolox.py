# coco_yolox.py on VOC2007 and VOC2012 trainval (16,551 images), tested on VOC2007 test.
_base_ = './coco_yolox.py'

dataset_type = 'VOCDataset'
# VOC_DATA_ROOT=/path/to/VOCdevkit or --cfg-options data_root=/path/to/VOCdevkit
data_root = '{{$VOC_DATA_ROOT:data/VOCdevkit}}'
load_pipeline = [
    dict(type='LoadImageFromFile', backend_args={{_base_.backend_args}}),
    dict(type='LoadAnnotations', with_bbox=True),
]

# inside of the wrapper that mixes images, so that those of both years are mixed
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type='ConcatDataset',
            # VOCDataset tells VOC2007 from VOC2012 in its metainfo
            ignore_keys=['dataset_type'],
            datasets=[
                dict(
                    type=dataset_type,
                    data_root=data_root,
                    ann_file='VOC2007/ImageSets/Main/trainval.txt',
                    data_prefix=dict(sub_data_root='VOC2007/'),
                    pipeline=load_pipeline,
                    backend_args={{_base_.backend_args}},
                ),
                dict(
                    type=dataset_type,
                    data_root=data_root,
                    ann_file='VOC2012/ImageSets/Main/trainval.txt',
                    data_prefix=dict(sub_data_root='VOC2012/'),
                    pipeline=load_pipeline,
                    backend_args={{_base_.backend_args}},
                ),
            ],
        )
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        data_root=data_root,
        ann_file='VOC2007/ImageSets/Main/test.txt',
        data_prefix=dict(sub_data_root='VOC2007/'),
        test_mode=True,
        pipeline={{_base_.test_pipeline}},
        backend_args={{_base_.backend_args}},
    )
)
test_dataloader = val_dataloader

# 11-point AP at IoU 0.5, difficult objects ignored
val_evaluator = dict(_delete_=True, type='VOCMetric', metric='mAP', eval_mode='11points')
test_evaluator = val_evaluator
