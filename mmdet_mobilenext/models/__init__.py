# SPDX-License-Identifier: Apache-2.0
"""Networks: backbone, neck, head and priors."""

from .batch_assigner import BatchMaxIoUAssigner
from .inplace_relu6 import InplaceReLU6
from .mobilenext import MobileNeXt
from .priors import SSDLitePriorGenerator
from .sandglass import SandglassBlock
from .sandglass_variants import SandglassVariantBlock
from .ssdlite_head import SSDLiteHead
from .ssdlite_neck import SSDLiteNeck
from .tapped_block import TappedBlock

__all__ = [
    'BatchMaxIoUAssigner',
    'InplaceReLU6',
    'MobileNeXt',
    'SSDLiteHead',
    'SSDLiteNeck',
    'SSDLitePriorGenerator',
    'SandglassBlock',
    'SandglassVariantBlock',
    'TappedBlock',
]
