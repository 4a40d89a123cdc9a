# SPDX-License-Identifier: Apache-2.0
"""Data: transforms, checks and the generated VOC set."""

from .transforms import DropDifficult, SSDPhotoMetricDistortion, SSDRandomCrop

__all__ = ['DropDifficult', 'SSDPhotoMetricDistortion', 'SSDRandomCrop']
