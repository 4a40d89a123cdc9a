# Faster R-CNN, COCO, four GPUs with four images each. The backbone of reference, ResNet-50; the
# files beside it change nothing else.
_base_ = [
    '../_base_/models/faster-rcnn_r50_fpn.py',
    '../_base_/datasets/coco_1333x800.py',
    '../_base_/schedules/fpn_1x.py',
]

# as MMDetection has it for Faster R-CNN on COCO
optim_wrapper = dict(optimizer=dict(lr=0.02))
