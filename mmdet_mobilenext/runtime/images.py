# SPDX-License-Identifier: Apache-2.0
"""Images from files and bytes, refused before they can do harm."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from .errors import ImageError

__all__ = ['FORMATS', 'IMAGE_SUFFIXES', 'MAX_BYTES', 'MAX_PIXELS', 'check_array', 'read_image']

FORMATS = ('BMP', 'JPEG', 'MPO', 'PNG', 'TIFF', 'WEBP')
"""Formats that are read, by Pillow's names."""
IMAGE_SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
MAX_PIXELS = 50_000_000
"""Most pixels of an image; 150 MB when decoded."""
MAX_BYTES = 200_000_000
"""Most bytes of a file."""


def read_image(
    source: str | os.PathLike | bytes, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES
) -> np.ndarray:
    """Read an image as MMDetection's ``LoadImageFromFile`` does, by OpenCV, with EXIF orientation.

    The size is taken from the header before anything is decoded, so a small file that would fill
    the memory (a decompression bomb) is refused.

    Args:
        source (str | PathLike | bytes): File, or content of a file.
        max_pixels (int): Defaults to 50 million.
        max_bytes (int): Defaults to 200 million.

    Returns:
        np.ndarray: (H, W, 3) uint8, BGR.

    Raises:
        FileNotFoundError: If there is no such file.
        ImageError: If it is no image of a known format, damaged, truncated or too large.

    Example:
        >>> data = cv2.imencode('.png', np.zeros((2, 3, 3), 'uint8'))[1].tobytes()
        >>> read_image(data).shape
        (2, 3, 3)
        >>> read_image(data, max_pixels=5)
        Traceback (most recent call last):
        ...
        mmdet_mobilenext.runtime.errors.ImageError: the image has 3x2 pixels, more than the 5 \
that are allowed (max_pixels)
    """
    name, data = _content(source, max_bytes)
    width, height = _header(name, data)
    if width * height > max_pixels:
        raise ImageError(
            f'{name} has {width}x{height} pixels, more than the {max_pixels:,} that are allowed '
            '(max_pixels)'
        )
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ImageError(f'{name} cannot be decoded: {error.err or error}') from error
    if image is None:
        raise ImageError(f'{name} cannot be decoded: it is damaged')
    if image.shape[0] * image.shape[1] > max_pixels:  # where both libraries read another header
        raise ImageError(f'{name} has {image.shape[1]}x{image.shape[0]} pixels, not what it says')
    return image


def check_array(image: np.ndarray) -> np.ndarray:
    """Check that an array is a BGR image.

    Args:
        image (np.ndarray): (H, W, 3) uint8.

    Returns:
        np.ndarray: The same.

    Raises:
        ImageError: With its shape and dtype, if it is anything else.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ImageError(
            'an image must be a uint8 array (height, width, 3) in BGR order, as cv2.imread returns '
            f'it, but received {image.dtype} {image.shape}'
        )
    return image


def _content(source: str | os.PathLike | bytes, max_bytes: int) -> tuple[str, bytes]:
    if isinstance(source, (bytes, bytearray, memoryview)):
        name, data = 'the image', bytes(source)
        size = len(data)
    else:
        name, path = str(source), Path(source)
        if path.is_dir():
            raise ImageError(f'{name} is a folder, not an image')
        if path.exists() and not path.is_file():  # a pipe or a device might never end
            raise ImageError(f'{name} is no regular file')
        size, data = path.stat().st_size, b''
    if size > max_bytes:
        raise ImageError(
            f'{name} has {size:,} bytes, more than the {max_bytes:,} that are allowed (max_bytes)'
        )
    if not isinstance(source, (bytes, bytearray, memoryview)):
        data = path.read_bytes()
    if not data:
        raise ImageError(f'{name} is empty')
    return name, data


def _header(name: str, data: bytes) -> tuple[int, int]:
    """Width and height without decoding."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of Pillow, on sizes that are checked here
            # Pillow opens MPO as JPEG, and knows no such opener
            formats = [name for name in FORMATS if name != 'MPO']
            with Image.open(io.BytesIO(data), formats=formats) as image:
                kind, size = image.format, image.size
    except Image.DecompressionBombError as error:
        raise ImageError(f'{name} is too large to be decoded safely: {error}') from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f'{name} is no image of a known format ({", ".join(FORMATS)}), or its header is damaged'
        ) from error
    except Exception as error:  # Pillow's plugins raise what they like on damaged headers
        raise ImageError(
            f'{name} has a damaged header ({type(error).__name__}: {error})'
        ) from error
    # OpenCV fills the rest of a truncated JPEG with grey and says nothing. Entropy-coded data
    # cannot hold either marker, so behind the start of the last scan its end must come.
    if kind in ('JPEG', 'MPO') and data.rfind(b'\xff\xd9') < data.rfind(b'\xff\xda'):
        raise ImageError(f'{name} is truncated: the end of the JPEG is missing')
    return size
