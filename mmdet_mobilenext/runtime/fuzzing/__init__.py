# SPDX-License-Identifier: Apache-2.0
"""Damaged and hostile image files, and what a detector does with them; needs Pillow."""

from .mutations import FuzzString, make_string
from .run import FuzzResult, fuzz

__all__ = ['FuzzResult', 'FuzzString', 'fuzz', 'make_string']
