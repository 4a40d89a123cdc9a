# GFL of mobile size with MobileNeXt, COCO, four GPUs with four images each.
_base_ = ['./gfl_r18_fpn96_1x_coco.py', '../_base_/backbones/mobilenext_fpn.py']

model = {{_base_.mobilenext_fpn}}
