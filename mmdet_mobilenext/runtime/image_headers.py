# SPDX-License-Identifier: Apache-2.0
"""What a file says of its pixels, read as the decoders behind OpenCV read it, nothing decoded.

Another library's word is not enough. Of a tag that a TIFF has twice Pillow takes the last and
libtiff the first, so a file could tell 4x4 to one and fill the memory with the other.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from .errors import ImageError

__all__ = ['FORMATS', 'ImageHeader', 'read_header', 'still_png']

FORMATS = ('BMP', 'JPEG', 'PNG', 'TIFF', 'WEBP')
"""Formats that are read; of several pictures in a file (MPO, APNG, pages of TIFF) the first."""


@dataclass(frozen=True)
class ImageHeader:
    """What a file says of its first picture.

    Args:
        kind (str): Of :data:`FORMATS`.
        width (int): In pixels, as stored: before the EXIF orientation is applied.
        height (int): The same.
        unit (int): Pixels of the largest piece that is decoded at once, where that may be more
            than the picture has: a tile of a TIFF. Defaults to 0.
        scans (int): Passes over the whole picture that decoding takes, as in a progressive JPEG.
            Defaults to 1.
    """

    kind: str
    width: int
    height: int
    unit: int = 0
    scans: int = 1


class _Unreadable(Exception):
    """Half a sentence, of which the name of the file is the other half."""


def read_header(data: bytes, name: str = 'the image') -> ImageHeader:
    """Read the header of an image file.

    Args:
        data (bytes): All of the file.
        name (str): What errors call it. Defaults to ``'the image'``.

    Returns:
        ImageHeader: Width and height are at least 1.

    Raises:
        ImageError: If it is no image of a known format, or its header is damaged.

    Example:
        >>> read_header(b'BM' + bytes(12) + struct.pack('<IiihhI', 40, 3, -2, 1, 24, 0) + bytes(30))
        ImageHeader(kind='BMP', width=3, height=2, unit=0, scans=1)
        >>> read_header(b'<html>')
        Traceback (most recent call last):
        ...
        mmdet_mobilenext.runtime.errors.ImageError: the image is no image of a known format \
(BMP, JPEG, PNG, TIFF, WEBP)
    """
    read = next((_READERS[magic] for magic in _READERS if data.startswith(magic)), None)
    if read is None:
        raise ImageError(f'{name} is no image of a known format ({", ".join(FORMATS)})')
    try:
        header = read(data)
        if header.width < 1 or header.height < 1:
            raise _Unreadable(f'has a damaged header: {header.width}x{header.height} pixels')
    except _Unreadable as error:
        raise ImageError(f'{name} {error}') from None
    except (struct.error, IndexError):  # the file ends before that
        raise ImageError(f'{name} is truncated: its header is cut off') from None
    return header


def still_png(data: bytes, name: str = 'the image') -> bytes:
    """The still image of a PNG, without the animation of an APNG.

    Of an animation whose frames are said to be larger than the image OpenCV 4.12 writes beyond its
    memory.

    Args:
        data (bytes): A PNG file.
        name (str): What errors call it. Defaults to ``'the image'``.

    Returns:
        bytes: Its chunks from the header to the end, but those of APNG.

    Raises:
        ImageError: If it is truncated.

    Example:
        >>> import cv2, numpy
        >>> data = cv2.imencode('.png', numpy.zeros((2, 3, 3), 'uint8'))[1].tobytes()
        >>> frame = bytes([0, 0, 0, 26]) + b'fcTL' + bytes(30)
        >>> still_png(data[:33] + frame + data[33:] + b'junk') == data
        True
    """
    kept, at = [data[:8]], 8
    while kept[-1][4:8] != b'IEND':
        chunk = data[at : at + 12 + int.from_bytes(data[at : at + 4], 'big')]
        if len(chunk) < 12 or len(chunk) < 12 + int.from_bytes(chunk[:4], 'big'):
            raise ImageError(f'{name} is truncated: the end of the PNG is missing')
        at += len(chunk)
        if chunk[4:8] not in (b'acTL', b'fcTL', b'fdAT'):
            kept.append(chunk)
    return b''.join(kept)


def _bmp(data: bytes) -> ImageHeader:
    (size,) = struct.unpack_from('<I', data, 14)
    # rows from the top on have a negative height; 12 is the header of OS/2
    width, height = struct.unpack_from('<HH' if size == 12 else '<ii', data, 18)
    return ImageHeader('BMP', width, abs(height))


def _png(data: bytes) -> ImageHeader:
    name, width, height = struct.unpack_from('>4sII', data, 12)
    if name != b'IHDR':
        raise _Unreadable('has a damaged header: the first chunk of the PNG is not IHDR')
    return ImageHeader('PNG', width, height)


def _jpeg(data: bytes) -> ImageHeader:
    # OpenCV 4.10 fills the rest of a truncated JPEG with grey and says nothing. Entropy-coded data
    # cannot hold either marker, so behind the start of the last scan its end must come.
    if data.rfind(b'\xff\xd9') < data.rfind(b'\xff\xda'):
        raise _Unreadable('is truncated: the end of the JPEG is missing')
    at = 2
    while True:
        at = data.find(b'\xff', at)
        while at >= 0 and data[at] == 0xFF:  # fill bytes may come before the marker
            at += 1
        marker = data[at] if at >= 0 else 0xD9
        if marker in (0xD9, 0xDA):
            raise _Unreadable('has a damaged header: the JPEG has no frame')
        at += 1
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:  # these stand alone
            continue
        (length,) = struct.unpack_from('>H', data, at)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from('>HH', data, at + 3)
            # those of a preview in the metadata are before the frame
            return ImageHeader('JPEG', width, height, scans=max(1, data.count(b'\xff\xda', at)))
        at += max(length, 2)


def _webp(data: bytes) -> ImageHeader:
    name = data[12:16]
    if data[8:12] != b'WEBP' or name not in (b'VP8 ', b'VP8L', b'VP8X'):
        raise _Unreadable('has a damaged header: a RIFF file that is no WebP')
    if name == b'VP8X':
        width, height = (int.from_bytes(data[at : at + 3], 'little') + 1 for at in (24, 27))
        struct.unpack_from('30x', data)
    elif name == b'VP8L':
        (bits,) = struct.unpack_from('<I', data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from('<HH', data, 26))
    return ImageHeader('WEBP', width, height)


def _tiff(data: bytes) -> ImageHeader:
    width, length, rows, tile_width, tile_length = 256, 257, 278, 322, 323
    found: dict[int, int] = {}
    for tag, value in _tiff_tags(data):
        if tag in (width, length, rows, tile_width, tile_length):
            if found.setdefault(tag, value) != value:
                raise _Unreadable(f'has a damaged header: tag {tag} of the TIFF is there twice')
    if width not in found or length not in found:
        raise _Unreadable('has a damaged header: the TIFF does not tell its size')
    unit = found.get(tile_width, 0) * found.get(tile_length, 0)
    return ImageHeader('TIFF', found[width], found[length], unit)


def _tiff_tags(data: bytes) -> Iterator[tuple[int, int]]:
    """Tags of the first directory, with their values where these are one whole number."""
    order = '<' if data[:2] == b'II' else '>'
    if data[2:4] in (b'+\0', b'\0+'):  # BigTIFF
        offset, count, step, head = 'Q', 'Q', 20, 'HHQ'
        (at,) = struct.unpack_from(f'{order}Q', data, 8)
    else:
        offset, count, step, head = 'I', 'H', 12, 'HHI'
        (at,) = struct.unpack_from(f'{order}I', data, 4)
    (entries,) = struct.unpack_from(order + count, data, min(at, len(data)))
    at += struct.calcsize(order + count)
    whole = {1: 'B', 3: 'H', 4: 'I', 16: 'Q', 6: 'b', 8: 'h', 9: 'i', 17: 'q'}
    for entry in range(min(entries, 1 << 16)):
        start = at + entry * step
        tag, kind, number = struct.unpack_from(order + head, data, start)
        value = start + struct.calcsize(order + head)
        if (
            number == 1
            and kind in whole
            and struct.calcsize(whole[kind]) <= struct.calcsize(offset)
        ):
            yield tag, struct.unpack_from(order + whole[kind], data, value)[0]


_READERS = {
    b'BM': _bmp,
    b'\xff\xd8\xff': _jpeg,
    b'\x89PNG\r\n\x1a\n': _png,
    b'II*\0': _tiff,
    b'MM\0*': _tiff,
    b'II+\0': _tiff,
    b'MM\0+': _tiff,
    b'RIFF': _webp,
}
