# SPDX-License-Identifier: Apache-2.0
"""From an exported file in float to one that computes in integers of 8 bits."""

from .errors import AccuracyDropError
from .options import METHODS, QuantizationOptions
from .quantize import quantize

__all__ = ['METHODS', 'AccuracyDropError', 'QuantizationOptions', 'quantize']
