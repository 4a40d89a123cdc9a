# SPDX-License-Identifier: Apache-2.0
"""Everything beside the file that the pixels of a decoded image depend on."""

from __future__ import annotations

import functools
import importlib.metadata
import json

import cv2

from .entries import FORMAT

__all__ = ['DEFAULT_SETTINGS', 'describe_settings']

DEFAULT_SETTINGS = dict(color_type='color', imdecode_backend='cv2')
"""Colour images (BGR), decoded by OpenCV."""

_DECODERS = dict(pillow='pillow', turbojpeg='PyTurboJPEG', tifffile='tifffile')


@functools.cache
def _decoder_versions(imdecode_backend: str | None) -> dict[str, str | None]:
    versions: dict[str, str | None] = dict(cv2=cv2.__version__)
    # None is mmcv's default at run time, whichever that is.
    names = _DECODERS if imdecode_backend is None else {imdecode_backend}
    for name in sorted(set(names) & set(_DECODERS)):
        try:
            versions[name] = importlib.metadata.version(_DECODERS[name])
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def describe_settings(settings: dict | None, max_side: int | None) -> str:
    """One text for all settings, a part of every key.

    Args:
        settings (dict, optional): Such as ``color_type`` and ``imdecode_backend`` of mmcv's
            ``LoadImageFromFile``. Defaults to None, which is :data:`DEFAULT_SETTINGS`.
        max_side (int, optional): Longer side that images are scaled down to.

    Returns:
        str: JSON, with the versions of the decoders and of the file layout.

    Example:
        >>> one = describe_settings(None, None)
        >>> one == describe_settings(DEFAULT_SETTINGS, None), one == describe_settings(None, 320)
        (True, False)
    """
    settings = DEFAULT_SETTINGS if settings is None else settings
    versions = _decoder_versions(settings.get('imdecode_backend', 'cv2'))
    return json.dumps([FORMAT, max_side, settings, versions], sort_keys=True)
