# SPDX-License-Identifier: Apache-2.0
"""Data: transforms, checks, caching and the generated VOC set."""

from .caching import LoadCachedImage
from .collate import light_collate
from .fused_ssd import FusedSSDAugment
from .transforms import DropDifficult, SSDPhotoMetricDistortion, SSDRandomCrop

__all__ = [
    'DropDifficult',
    'FusedSSDAugment',
    'LoadCachedImage',
    'SSDPhotoMetricDistortion',
    'SSDRandomCrop',
    'light_collate',
]
