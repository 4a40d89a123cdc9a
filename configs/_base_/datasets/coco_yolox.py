# COCO 2017 with YOLOX-tiny's augmentation, trained at 320 to 640 pixels and tested at 416.
_base_ = 'mmdet::yolox/yolox_tiny_8xb8-300e_coco.py'

# the data alone
list(
    map(
        _base_.pop,
        set(_base_)
        - {
            'dataset_type',
            'backend_args',
            'test_pipeline',
            'train_dataloader',
            'val_dataloader',
            'test_dataloader',
            'val_evaluator',
            'test_evaluator',
            'tta_model',
            'tta_pipeline',
        },
    )
)

# COCO_DATA_ROOT=/path/to/coco or --cfg-options data_root=/path/to/coco
data_root = '{{$COCO_DATA_ROOT:data/coco}}'

train_dataloader = dict(dataset=dict(dataset=dict(data_root=data_root)))
# round_up=False: no image is evaluated twice in distributed testing
val_dataloader = dict(sampler=dict(round_up=False), dataset=dict(data_root=data_root))
test_dataloader = val_dataloader

val_evaluator = dict(ann_file=data_root + '/annotations/instances_val2017.json')
test_evaluator = val_evaluator
