# MobileNeXt SSDLite, 320x320, on a set of your own of about VOC07's size, one GPU
# with batch 24. To be inherited like ssdlite_mobilenext_small160_own.py.
_base_ = [
    './_base_/weights/mobilenext_in1k.py',
    './_base_/datasets/own_voc_ssd320.py',
    './_base_/schedules/ssdlite_1xb24_72k.py',
]

model = dict(bbox_head=dict(num_classes={{_base_.num_classes}}))
