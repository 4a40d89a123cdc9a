# YOLOX-tiny with MobileNeXt, VOC07+12, eight GPUs with eight images each.
_base_ = ['./yolox_tiny_300e_voc0712.py', '../_base_/backbones/mobilenext_pafpn.py']

# the neck is a list here, of which a config can merge nothing
_base_.model.neck[0].in_channels = _base_.mobilenext_pafpn.neck.in_channels
model = dict(
    data_preprocessor={{_base_.mobilenext_pafpn.data_preprocessor}},
    backbone={{_base_.mobilenext_pafpn.backbone}},
)
