# SPDX-License-Identifier: Apache-2.0
"""Networks: backbone, neck, head and priors."""

from .batch_assigner import BatchMaxIoUAssigner
from .inplace_relu6 import InplaceReLU6
from .mobilenext import MobileNeXt
from .priors import SSDLitePriorGenerator
from .sandglass import SandglassBlock
from .ssdlite_head import SSDLiteHead
from .ssdlite_neck import SSDLiteNeck

__all__ = [
    'BatchMaxIoUAssigner',
    'InplaceReLU6',
    'MobileNeXt',
    'SSDLiteHead',
    'SSDLiteNeck',
    'SSDLitePriorGenerator',
    'SandglassBlock',
]
