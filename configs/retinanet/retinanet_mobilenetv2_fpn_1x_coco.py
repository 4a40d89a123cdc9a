# RetinaNet with MobileNetV2, COCO, four GPUs with four images each.
_base_ = ['./retinanet_r50_fpn_1x_coco.py', '../_base_/backbones/mobilenetv2_fpn.py']

model = {{_base_.mobilenetv2_fpn}}
