# RetinaNet, VOC07+12, four GPUs with four images each. The backbone of reference, ResNet-50; the
# files beside it change nothing else.
_base_ = [
    '../_base_/models/retinanet_r50_fpn.py',
    '../_base_/datasets/voc0712_1000x600.py',
    '../_base_/schedules/fpn_1x_voc.py',
]

model = dict(bbox_head=dict(num_classes=20))
