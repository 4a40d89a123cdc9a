# VOC2007 and VOC2012 trainval (16,551 images) for training, VOC2007 test for evaluation, sides of
# at most 1000 and 600 pixels, as in MMDetection's VOC configs. Its data set is not repeated here,
# and keeps all boxes: there those below 32 pixels vanish from training. Difficult boxes are marked
# to be ignored by MMDetection's loading, and none is matched.
_base_ = 'mmdet::_base_/datasets/voc0712.py'

# VOC_DATA_ROOT=/path/to/VOCdevkit or --cfg-options data_root=/path/to/VOCdevkit
data_root = '{{$VOC_DATA_ROOT:data/VOCdevkit}}'

train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        # VOCDataset tells VOC2007 from VOC2012 in its metainfo
        ignore_keys=['dataset_type'],
        datasets=[
            dict(
                type={{_base_.dataset_type}},
                data_root=data_root,
                ann_file='VOC2007/ImageSets/Main/trainval.txt',
                data_prefix=dict(sub_data_root='VOC2007/'),
                pipeline={{_base_.train_pipeline}},
                backend_args={{_base_.backend_args}},
            ),
            dict(
                type={{_base_.dataset_type}},
                data_root=data_root,
                ann_file='VOC2012/ImageSets/Main/trainval.txt',
                data_prefix=dict(sub_data_root='VOC2012/'),
                pipeline={{_base_.train_pipeline}},
                backend_args={{_base_.backend_args}},
            ),
        ],
    ),
)
# round_up=False: no image is evaluated twice in distributed testing
val_dataloader = dict(sampler=dict(round_up=False), dataset=dict(data_root=data_root))
test_dataloader = val_dataloader

# tools/test.py --tta: the image and its mirror image
tta_model = dict(
    type='DetTTAModel', tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100)
)
tta_pipeline = [
    dict(type='LoadImageFromFile', backend_args={{_base_.backend_args}}),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=(1000, 600), keep_ratio=True)],
            [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)],
            [dict(type='LoadAnnotations', with_bbox=True)],
            [
                dict(
                    type='PackDetInputs',
                    meta_keys=(
                        'img_id',
                        'img_path',
                        'ori_shape',
                        'img_shape',
                        'scale_factor',
                        'flip',
                        'flip_direction',
                    ),
                )
            ],
        ],
    ),
]
