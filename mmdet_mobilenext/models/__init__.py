# SPDX-License-Identifier: Apache-2.0
"""Networks: backbone, neck, head and priors."""

from .batch_assigner import BatchMaxIoUAssigner
from .mobilenext import MobileNeXt
from .priors import SSDLitePriorGenerator
from .sandglass import SandglassBlock
from .ssdlite_head import SSDLiteHead
from .ssdlite_neck import SSDLiteNeck

__all__ = [
    'BatchMaxIoUAssigner',
    'MobileNeXt',
    'SSDLiteHead',
    'SSDLiteNeck',
    'SSDLitePriorGenerator',
    'SandglassBlock',
]
