# GFL of mobile size: 96 channels instead of 256 and two convolutions instead of four in the head.
_base_ = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'

# the network alone
list(map(_base_.pop, set(_base_) - {'model'}))

model = dict(
    backbone=dict(
        depth=18,
        # the file of torchvision://resnet18, without torchvision
        init_cfg=dict(checkpoint='https://download.pytorch.org/models/resnet18-f37072fd.pth'),
    ),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=96),
    bbox_head=dict(in_channels=96, feat_channels=96, stacked_convs=2),
)
