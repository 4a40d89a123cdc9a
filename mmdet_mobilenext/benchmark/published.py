# SPDX-License-Identifier: Apache-2.0
"""Published results that a comparison is shown beside. Nothing of it was measured here."""

PUBLISHED = (
    dict(
        name='MobileNetV2 SSDLite',
        backbone='MobileNetV2',
        voc_11point=0.717,
        setting='VOC07+12 trainval, ImageNet weights, 320x320, 348 epochs',
        source='https://arxiv.org/abs/2007.02269',
    ),
    dict(
        name='MobileNeXt SSDLite',
        backbone='MobileNeXt',
        voc_11point=0.726,
        setting='VOC07+12 trainval, ImageNet weights, 320x320, 348 epochs',
        source='https://arxiv.org/abs/2007.02269',
    ),
)
"""The Pascal VOC 2007 detection results of "Rethinking Bottleneck Structure for Efficient Mobile
Network Design", ECCV 2020: 11-point mAP in 0..1."""
