# SPDX-License-Identifier: Apache-2.0
"""Small valid image files of every format and kind, to be damaged."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin

__all__ = ['encode', 'exif_orientation', 'valid_files']

WIDTH, HEIGHT = 40, 30


def exif_orientation(orientation: int, junk: int = 0) -> bytes:
    """An EXIF block.

    Args:
        orientation (int): Value of the tag, 1 to 8.
        junk (int): Bytes of a comment in it. Defaults to 0.

    Returns:
        bytes: As Pillow takes it.

    Example:
        >>> exif_orientation(6)[:4]
        b'Exif'
    """
    exif = Image.Exif()
    exif[0x0112] = orientation
    if junk:
        exif[0x010E] = 'x' * junk
    return exif.tobytes()


def encode(
    image: Image.Image, kind: str, pages: Sequence[Image.Image] = (), **options: Any
) -> bytes:
    """An image as a file.

    Args:
        image (Image.Image): What to encode.
        kind (str): Pillow's name of the format.
        pages (Sequence[Image.Image]): Further pictures in the same file.
        **options: For Pillow.

    Returns:
        bytes: Content of the file.

    Example:
        >>> encode(Image.new('RGB', (8, 8)), 'BMP')[:2]
        b'BM'
    """
    buffer = io.BytesIO()
    if pages:
        options.update(save_all=True, append_images=[page.copy() for page in pages])
    image.copy().save(buffer, kind, **options)  # saving leaves settings of the encoder behind
    return buffer.getvalue()


@cache
def valid_files() -> dict[str, bytes]:
    """Files that any detector must take.

    Returns:
        dict[str, bytes]: By a name that begins with the format, as in ``'PNG 16 bit'``.

    Example:
        >>> files = valid_files()
        >>> files['BMP'][:2], len({name.split()[0] for name in files})
        (b'BM', 5)
    """
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    pixels = cv2.GaussianBlur(pixels, (9, 9), 0)
    rgb = Image.fromarray(pixels)
    others = [rgb.rotate(90), rgb.rotate(180)]
    modes = {mode: rgb.convert(mode) for mode in ('1', 'L', 'LA', 'P', 'RGBA', 'CMYK', 'YCbCr')}
    modes['I;16'] = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
    text = PngImagePlugin.PngInfo()
    text.add_text('Comment', 'x' * 200, zip=True)
    text.add_itxt('Title', 'y' * 200, zip=True)
    deep = cv2.imencode('.png', pixels.astype(np.uint16) * 257)[1].tobytes()
    files = {
        'JPEG': encode(rgb, 'JPEG'),
        'JPEG progressive': encode(rgb, 'JPEG', progressive=True),
        'JPEG 4:4:4 restarts': encode(rgb, 'JPEG', subsampling=0, restart_marker_blocks=2),
        'JPEG grey': encode(modes['L'], 'JPEG'),
        'JPEG CMYK': encode(modes['CMYK'], 'JPEG'),
        'JPEG ICC': encode(rgb, 'JPEG', icc_profile=icc, comment='hello'),
        'JPEG large EXIF': encode(rgb, 'JPEG', exif=exif_orientation(3, 60_000)),
        'JPEG MPO': encode(rgb, 'MPO', others),
        'PNG interlaced': _interlaced(pixels),
        'PNG 16 bit': deep,
        'PNG text': encode(rgb, 'PNG', pnginfo=text, icc_profile=icc, exif=exif_orientation(8)),
        'PNG palette alpha': encode(modes['P'], 'PNG', transparency=0),
        'PNG animated': encode(rgb, 'PNG', others, duration=50),
        'WEBP': encode(rgb, 'WEBP'),
        'WEBP lossless': encode(rgb, 'WEBP', lossless=True),
        'WEBP alpha': encode(modes['RGBA'], 'WEBP', exif=exif_orientation(6), icc_profile=icc),
        'WEBP animated': encode(rgb, 'WEBP', others, duration=50),
        'TIFF pages': encode(rgb, 'TIFF', others),
        'TIFF BigTIFF': encode(rgb, 'TIFF', big_tiff=True),
        'TIFF many tags': encode(rgb, 'TIFF', tiffinfo=_many_tags()),
        'TIFF 16 bit': cv2.imencode('.tiff', pixels.astype(np.uint16) * 257)[1].tobytes(),
    }
    for orientation in range(1, 9):
        exif = exif_orientation(orientation)
        files[f'JPEG EXIF {orientation}'] = encode(rgb, 'JPEG', exif=exif)
    for mode in ('1', 'L', 'LA', 'P', 'RGBA', 'I;16'):
        files[f'PNG {mode}'] = encode(modes[mode], 'PNG')
    for mode in ('1', 'L', 'P', 'RGBA'):
        files[f'BMP {mode}'] = encode(modes[mode], 'BMP')
    files['BMP'], files['PNG'], files['TIFF'] = (encode(rgb, k) for k in ('BMP', 'PNG', 'TIFF'))
    for mode in ('1', 'L', 'P', 'RGBA', 'CMYK', 'I;16'):
        files[f'TIFF {mode}'] = encode(modes[mode], 'TIFF')
    for compression in ('tiff_lzw', 'tiff_deflate', 'packbits', 'jpeg'):
        files[f'TIFF {compression}'] = encode(rgb, 'TIFF', compression=compression)
    files['TIFF group4'] = encode(modes['1'], 'TIFF', compression='group4')
    return files


def _many_tags() -> TiffImagePlugin.ImageFileDirectory_v2:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for number in range(500):
        tags[65000 - number] = f'text {number}'
    return tags


def _interlaced(pixels: np.ndarray) -> bytes:
    """A PNG in the seven passes of Adam7, which neither Pillow nor OpenCV writes."""
    import zlib

    from .bombs import png

    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
    rows = b''
    for left, top, step_x, step_y in [*passes, (0, 1, 1, 2)]:
        for row in pixels[top::step_y, left::step_x]:
            rows += b'\0' + row.tobytes()
    return png(pixels.shape[1], pixels.shape[0], zlib.compress(rows), interlaced=True)
