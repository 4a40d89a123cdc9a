# GFL of mobile size with MobileNetV2, VOC07+12, four GPUs with four images each.
_base_ = ['./gfl_r18_fpn96_1x_voc0712.py', '../_base_/backbones/mobilenetv2_fpn.py']

model = {{_base_.mobilenetv2_fpn}}
