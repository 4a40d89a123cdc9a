# SSDLite on ResNet-18, a heavier reference for the pair of mobile backbones: head, priors and kind
# of extra levels are those of MobileNetV2's. Not a published detector.
_base_ = './ssdlite.py'

model = dict(
    backbone=dict(
        type='ResNet',
        depth=18,
        # 256 channels at stride 16 and 512 at stride 32
        out_indices=(2, 3),
        norm_cfg=dict(type='BN'),
        norm_eval=False,
        # the file of torchvision://resnet18, without torchvision
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.pytorch.org/models/resnet18-f37072fd.pth',
        ),
    ),
    neck=dict(
        in_channels=(256, 512),
        out_channels=(256, 512, 512, 256, 256, 64),
        expand_ratios=(0.2, 0.5, 0.5, 0.5),
        extra_type='inverted_residual',
    ),
    bbox_head=dict(in_channels=(256, 512, 512, 256, 256, 64)),
)
