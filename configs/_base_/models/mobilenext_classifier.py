# The published classifier: MobileNeXt, global average pooling, dropout 0.2 and
# a linear layer. Initialized as published: convolutions normal(0, sqrt(2 / (k *
# k * out))), norms 1 and 0, linear normal(0, 0.01) and 0.
model = dict(
    type='ImageClassifier',
    # Those of the authors' training (ImageNet's mean 0.485 0.456 0.406, times
    # 255). The detectors, as published, take 123 117 104 with the same std: at
    # most 0.013 of a standard deviation apart.
    data_preprocessor=dict(
        type='ClsDataPreprocessor',
        num_classes=1000,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
    ),
    # The detectors' class. Their backbone takes this one's weights by
    # init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.').
    backbone=dict(
        type='MobileNeXt',
        widen_factor=1.0,
        identity_tensor_multiplier=1.0,
        out_indices=(7,),
        norm_cfg=dict(type='BN'),
        act_cfg=dict(type='InplaceReLU6'),
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='DropoutLinearClsHead',
        num_classes=1000,
        in_channels=1280,
        dropout=0.2,
        # from the authors' training script, not from the paper
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, num_classes=1000),
        topk=(1, 5),
    ),
)
