# VOC2007 and VOC2012 trainval (16,551 images) for training, VOC2007 test for
# evaluation, 320x320.
_base_ = './voc07_ssd320.py'

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        # VOCDataset tells VOC2007 from VOC2012 in its metainfo
        ignore_keys=['dataset_type'],
        datasets=[
            dict(
                type={{_base_.dataset_type}},
                data_root={{_base_.data_root}},
                ann_file='VOC2007/ImageSets/Main/trainval.txt',
                data_prefix=dict(sub_data_root='VOC2007/'),
                pipeline={{_base_.train_pipeline}},
                backend_args={{_base_.backend_args}},
            ),
            dict(
                type={{_base_.dataset_type}},
                data_root={{_base_.data_root}},
                ann_file='VOC2012/ImageSets/Main/trainval.txt',
                data_prefix=dict(sub_data_root='VOC2012/'),
                pipeline={{_base_.train_pipeline}},
                backend_args={{_base_.backend_args}},
            ),
        ],
    )
)
