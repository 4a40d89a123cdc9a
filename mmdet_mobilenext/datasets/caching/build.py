# SPDX-License-Identifier: Apache-2.0
"""From a config to a cache."""

from __future__ import annotations

from .image_cache import CachedImageStore

__all__ = ['build_image_cache']


def build_image_cache(cfg: dict | None, settings: dict | None = None) -> CachedImageStore | None:
    """Make a cache from the config of a transform.

    Args:
        cfg (dict, optional): ``backend`` and ``max_bytes``, and optionally ``directory`` and
            ``max_side``, see :class:`CachedImageStore`; None for no cache.
        settings (dict, optional): All else that pixels depend on. Defaults to None, which is
            colour images (BGR) decoded by OpenCV.

    Returns:
        CachedImageStore | None: The cache.

    Raises:
        ValueError: If a key is unknown or missing, or a value cannot be used.

    Example:
        >>> import tempfile
        >>> build_image_cache(None) is None
        True
        >>> cfg = dict(backend='disk', max_bytes='1MB', directory=tempfile.mkdtemp())
        >>> store = build_image_cache(cfg)
        >>> store.max_bytes
        1000000
    """
    if cfg is None:
        return None
    known, needed = {'backend', 'max_bytes', 'directory', 'max_side'}, {'backend', 'max_bytes'}
    if set(cfg) - known or needed - set(cfg):
        raise ValueError(
            f'cache has the keys {sorted(cfg)}, but takes backend, max_bytes (both needed), '
            "directory and max_side, such as dict(backend='shared_memory', max_bytes='2GiB')"
        )
    return CachedImageStore(**cfg, settings=settings)
