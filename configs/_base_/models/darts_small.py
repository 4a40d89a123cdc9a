# The relaxed network of cells_small.py: DARTS' operations and the sandglass block.
model = dict(
    type='Darts',
    network=dict(
        type='ImageClassifier',
        data_preprocessor=dict(
            type='ClsDataPreprocessor',
            num_classes=20,
            mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375],
            to_rgb=True,
        ),
        backbone=dict(
            type='RelaxedCells',
            operations=(
                'none', 'max_pool_3x3', 'avg_pool_3x3', 'skip_connect',
                'sep_conv_3x3', 'sep_conv_5x5', 'dil_conv_3x3', 'dil_conv_5x5',
                'sandglass_3x3',
            ),
            num_nodes=2,
            # a multiple of 6, the reduction ratio of the sandglass block
            base_channels=12,
            num_cells=3,
            stem_stride=4,
            stem_multiplier=1,
            out_indices=(2,),
            norm_cfg=dict(type='BN', affine=False),
        ),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead',
            num_classes=20,
            in_channels=96,
            loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
            topk=(1,),
        ),
    ),
    order='first',
    cost='madds',
    cost_weight=0.0,
    input_size=32,
)  # fmt: skip
