# MobileNeXt, ImageNet-1k, 4 GPUs with batch 64. Published top-1: 74.02.
_base_ = [
    '../_base_/models/mobilenext_classifier.py',
    '../_base_/datasets/imagenet_bs64.py',
    '../_base_/schedules/imagenet_4xb64_200e.py',
    '../_base_/imagenet_runtime.py',
]
