# A small classifier of searched cells for 32x32 images.
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(
        type='ClsDataPreprocessor',
        num_classes=20,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
    ),
    backbone=dict(
        type='SearchedCells',
        # written by a search; tools/search.py train takes another
        genotype='work_dirs/darts_sandglass_small/genotype.json',
        # a multiple of 6, the reduction ratio of the sandglass block
        base_channels=12,
        num_cells=3,
        stem_stride=4,
        stem_multiplier=1,
        out_indices=(2,),
        norm_cfg=dict(type='BN'),
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=20,
        in_channels=96,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1,),
    ),
)
