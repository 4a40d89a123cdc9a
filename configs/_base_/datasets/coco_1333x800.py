# COCO 2017, sides of at most 1333 and 800 pixels, as in MMDetection.
_base_ = 'mmdet::_base_/datasets/coco_detection.py'

# COCO_DATA_ROOT=/path/to/coco or --cfg-options data_root=/path/to/coco
data_root = '{{$COCO_DATA_ROOT:data/coco}}'

train_dataloader = dict(batch_size=4, num_workers=4, dataset=dict(data_root=data_root))
# round_up=False: no image is evaluated twice in distributed testing
val_dataloader = dict(sampler=dict(round_up=False), dataset=dict(data_root=data_root))
test_dataloader = val_dataloader

val_evaluator = dict(ann_file=data_root + '/annotations/instances_val2017.json')
test_evaluator = val_evaluator

# tools/test.py --tta: the image and its mirror image
tta_model = dict(
    type='DetTTAModel', tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100)
)
tta_pipeline = [
    dict(type='LoadImageFromFile', backend_args={{_base_.backend_args}}),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=(1333, 800), keep_ratio=True)],
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
