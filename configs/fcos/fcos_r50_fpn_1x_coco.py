# FCOS, COCO, four GPUs with four images each. The backbone of reference, ResNet-50; the
# files beside it change nothing else.
_base_ = [
    '../_base_/models/fcos_r50_fpn.py',
    '../_base_/datasets/coco_1333x800.py',
    '../_base_/schedules/fpn_1x.py',
]

# FCOS' own: biases with twice the learning rate and without decay
optim_wrapper = dict(paramwise_cfg=dict(bias_lr_mult=2.0, bias_decay_mult=0.0))
