# YOLOX-tiny with MobileNetV2, COCO, eight GPUs with eight images each.
_base_ = ['./yolox_tiny_300e_coco.py', '../_base_/backbones/mobilenetv2_pafpn.py']

# the neck is a list here, of which a config can merge nothing
_base_.model.neck[0].in_channels = _base_.mobilenetv2_pafpn.neck.in_channels
model = dict(
    data_preprocessor={{_base_.mobilenetv2_pafpn.data_preprocessor}},
    backbone={{_base_.mobilenetv2_pafpn.backbone}},
)
