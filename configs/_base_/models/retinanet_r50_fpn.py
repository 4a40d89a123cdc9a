_base_ = 'mmdet::_base_/models/retinanet_r50_fpn.py'

# the file of torchvision://resnet50, without torchvision
model = dict(
    backbone=dict(
        init_cfg=dict(checkpoint='https://download.pytorch.org/models/resnet50-0676ba61.pth')
    )
)
