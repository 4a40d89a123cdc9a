# SPDX-License-Identifier: Apache-2.0
"""Decoded images kept in shared memory or on disk: optional, bounded, off by default."""

from .build import build_image_cache
from .image_cache import CachedImageStore
from .loading import LoadCachedImage

__all__ = ['CachedImageStore', 'LoadCachedImage', 'build_image_cache']
