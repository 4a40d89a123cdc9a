# RetinaNet with MobileNeXt, VOC07+12, four GPUs with four images each.
_base_ = ['./retinanet_r50_fpn_1x_voc0712.py', '../_base_/backbones/mobilenext_fpn.py']

model = {{_base_.mobilenext_fpn}}
