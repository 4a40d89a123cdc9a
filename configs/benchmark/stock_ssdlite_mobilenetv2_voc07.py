# mmdet's stock SSDLite MobileNetV2 on VOC2007: model, augmentation, optimizer and
# loader settings are its own; only data, classes and evaluator are VOC's.
_base_ = 'mmdet::ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py'

custom_imports = dict(
    # the stock head cannot predict
    imports=['mmdet_mobilenext.benchmark.speed.stock_head'],
    allow_failed_imports=False,
)

dataset_type = 'VOCDataset'
data_root = '{{$VOC_DATA_ROOT:data/VOCdevkit}}'
model = dict(bbox_head=dict(type='StockSSDHead', num_classes=20))

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        data_root=data_root,
        ann_file='VOC2007/ImageSets/Main/trainval.txt',
        data_prefix=dict(sub_data_root='VOC2007/'),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline={{_base_.train_pipeline}},
        backend_args=None,
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
        backend_args=None,
    )
)
test_dataloader = val_dataloader

val_evaluator = dict(_delete_=True, type='VOCMetric', metric='mAP', eval_mode='11points')
test_evaluator = val_evaluator
