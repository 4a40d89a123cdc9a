# FCOS with the improvements of its second version: GroupNorm in the head, centre sampling, GIoU.
_base_ = (
    'mmdet::fcos/fcos_r50_fpn_gn-head-center-normbbox-centeronreg-giou_8xb8-amp-lsj-200e_coco.py'
)

# the network alone
list(map(_base_.pop, set(_base_) - {'model'}))

model = dict(
    # which pads to the size of large-scale jittering
    data_preprocessor=dict(batch_augments=None),
    # the file of torchvision://resnet50, without torchvision
    backbone=dict(
        init_cfg=dict(checkpoint='https://download.pytorch.org/models/resnet50-0676ba61.pth')
    ),
)
