# SPDX-License-Identifier: Apache-2.0
"""Images from files and bytes, refused before they can do harm."""

from __future__ import annotations

import os
import stat

import cv2
import numpy as np

from .errors import ImageError
from .image_headers import FORMATS, read_header, still_png

__all__ = [
    'FORMATS',
    'IMAGE_SUFFIXES',
    'MAX_BYTES',
    'MAX_PIXELS',
    'MAX_SCANS',
    'check_array',
    'read_image',
]

IMAGE_SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.mpo', '.png', '.tif', '.tiff', '.webp')
MAX_PIXELS = 50_000_000
"""Most pixels of an image: 150 MB when decoded, and up to 520 MB meanwhile."""
MAX_BYTES = 200_000_000
"""Most bytes of a file."""
MAX_SCANS = 100
"""Most scans of a JPEG; progressive ones have 10 or so. Each goes over all pixels once more, which
a file may ask for with 50 bytes."""


def read_image(
    source: str | os.PathLike | bytes, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES
) -> np.ndarray:
    """Read an image as MMDetection's ``LoadImageFromFile`` does, by OpenCV, with EXIF orientation.

    The size is taken from the header before anything is decoded, so a small file that would fill
    the memory (a decompression bomb) is refused. Of several pictures in a file the first is read.

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
    header = read_header(data, name)
    size = header.width, header.height
    if max(size[0] * size[1], header.unit) > max_pixels:
        what = f'{size[0]}x{size[1]} pixels'
        if size[0] * size[1] <= max_pixels:
            what = f'tiles of {header.unit:,} pixels'
        raise ImageError(
            f'{name} has {what}, more than the {max_pixels:,} that are allowed (max_pixels)'
        )
    if header.scans > MAX_SCANS:
        raise ImageError(
            f'{name} is a JPEG of {header.scans:,} scans, more than the {MAX_SCANS} that are read'
        )
    if header.kind == 'PNG':
        data = still_png(data, name)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ImageError(f'{name} cannot be decoded: {error.err or error}') from error
    if image is None:
        raise ImageError(f'{name} cannot be decoded: it is damaged, or of a rare kind')
    if image.shape[:2] not in (size, size[::-1]):  # the EXIF orientation may have turned it
        raise ImageError(
            f'{name} has {image.shape[1]}x{image.shape[0]} pixels, but says {size[0]}x{size[1]}'
        )
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
        name = os.fspath(source)
        try:
            found = os.stat(source)
        except ValueError as error:  # a NUL in it
            raise ImageError(f'{name!r} is no path of a file: {error}') from error
        if stat.S_ISDIR(found.st_mode):
            raise ImageError(f'{name} is a folder, not an image')
        if not stat.S_ISREG(found.st_mode):  # a pipe or a device might never end
            raise ImageError(f'{name} is no regular file')
        with open(source, 'rb') as file:
            data = file.read(max_bytes + 1)
        size = max(found.st_size, len(data))
    if size > max_bytes:
        raise ImageError(
            f'{name} has {size:,} bytes, more than the {max_bytes:,} that are allowed (max_bytes)'
        )
    if not data:
        raise ImageError(f'{name} is empty')
    return name, data
