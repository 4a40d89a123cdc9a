# COCO train2017 (118,287 images) for training, val2017 (5,000) for evaluation, 320x320, with the
# augmentation of VOC. Crowds are dropped in training as VOC's difficult objects are.
_base_ = './voc07_ssd320.py'

dataset_type = 'CocoDataset'
# COCO_DATA_ROOT=/path/to/coco or --cfg-options data_root=/path/to/coco
data_root = '{{$COCO_DATA_ROOT:data/coco}}'

train_dataloader = dict(
    batch_size=32,
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'),
        # images without objects are passed over, as published
        filter_cfg=dict(filter_empty_gt=True),
        pipeline={{_base_.train_pipeline}},
        backend_args={{_base_.backend_args}},
    ),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/'),
        test_mode=True,
        pipeline={{_base_.test_pipeline}},
        backend_args={{_base_.backend_args}},
    )
)
test_dataloader = val_dataloader

val_evaluator = dict(
    _delete_=True,
    type='CocoMetric',
    ann_file=data_root + '/annotations/instances_val2017.json',
    metric='bbox',
    backend_args={{_base_.backend_args}},
)
test_evaluator = val_evaluator

# tools/test.py --tta
tta_model = dict(tta_cfg=dict(nms=dict(iou_threshold=0.5)))
