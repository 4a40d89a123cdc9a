# SPDX-License-Identifier: Apache-2.0
"""Small files that ask for much memory or time, and files that are no images at all."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Sequence
from functools import cache

from PIL import Image

__all__ = ['bombs', 'png', 'png_chunk', 'strangers', 'tiff']

SIDE = 65535


def png_chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG, with its checksum.

    Args:
        name (bytes): Four letters.
        data (bytes): Content.

    Returns:
        bytes: The chunk.

    Example:
        >>> png_chunk(b'IEND', b'')[-4:].hex()
        'ae426082'
    """
    return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))


def png(
    width: int, height: int, data: bytes, before: Sequence[bytes] = (), interlaced: bool = False
) -> bytes:
    """A PNG of 8 bit RGB.

    Args:
        width (int): In pixels.
        height (int): The same.
        data (bytes): Compressed rows.
        before (Sequence[bytes]): Chunks between header and data. Defaults to none.
        interlaced (bool): Whether it is said to be. Defaults to False.

    Returns:
        bytes: The file.

    Example:
        >>> png(65535, 65535, b'')[16:24].hex()
        '0000ffff0000ffff'
    """
    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, int(interlaced))
    chunks = [
        png_chunk(b'IHDR', header),
        *before,
        png_chunk(b'IDAT', data),
        png_chunk(b'IEND', b''),
    ]
    return b'\x89PNG\r\n\x1a\n' + b''.join(chunks)


def tiff(
    entries: Sequence[tuple[int, int, int, int]], data: bytes = b'', next_directory: int = 0
) -> bytes:
    """A TIFF of one directory.

    Args:
        entries (Sequence[tuple]): Tag, type, count and value of each; where the pixels are (tags
            273 and 324) is filled in.
        data (bytes): Pixels. Defaults to nothing.
        next_directory (int): Where the next directory is said to be. Defaults to none.

    Returns:
        bytes: The file.

    Example:
        >>> tiff([(256, 4, 1, 7)])[8:22].hex()
        '0100000104000100000007000000'
    """
    start = 8 + 2 + 12 * len(entries) + 4
    body = b''.join(
        struct.pack('<HHII', *entry[:3], start if entry[0] in (273, 324) else entry[3])
        for entry in entries
    )
    head = b'II*\0' + struct.pack('<IH', 8, len(entries))
    return head + body + struct.pack('<I', next_directory) + data


def _tiff_entries(width: int, height: int, size: int, **other: int) -> list[tuple]:
    """Tags of a grey TIFF in one strip, compressed by deflate."""
    values = {
        256: width,
        257: height,
        258: 8,
        259: 8,
        262: 1,
        273: 0,
        277: 1,
        278: height,
        279: size,
    }
    values.update({int(tag[1:]): value for tag, value in other.items()})
    return [(tag, 4, 1, value) for tag, value in sorted(values.items())]


@cache
def bombs() -> dict[str, bytes]:
    """Files that ask for more than a picture needs; none has more than 300 kB.

    Returns:
        dict[str, bytes]: By name.

    Example:
        >>> max(map(len, bombs().values())) < 300_000
        True
    """
    black = zlib.compress(bytes(20_000_000), 9)
    strip = _tiff_entries(SIDE, SIDE, len(black))
    twice = [*_tiff_entries(4, 4, len(black)), (256, 4, 1, 20_000), (257, 4, 1, 1000)]
    tiles = _tiff_entries(4, 4, 0, t322=1 << 14, t323=1 << 12, t324=0, t325=len(black))
    tiles = [entry for entry in tiles if entry[0] not in (273, 278, 279)]
    small = zlib.compress(bytes(4 * (4 * 3 + 1)))
    text = zlib.compress(bytes(100_000_000), 9)
    animation = struct.pack('>II', (1 << 31) - 1, 0)
    frame = struct.pack('>IIIIIHHBB', 0, SIDE, SIDE, 0, 0, 1, 10, 0, 0)
    buffer = io.BytesIO()
    Image.new('RGB', (64, 64), 'red').save(buffer, 'JPEG', progressive=True)
    jpeg = buffer.getvalue()
    last_scan = jpeg[jpeg.rfind(b'\xff\xda') : -2]
    frame_at = jpeg.find(b'\xff\xc2') + 5
    large = jpeg[:frame_at] + struct.pack('>HH', SIDE, SIDE) + jpeg[frame_at + 4 :]
    wide = jpeg[:frame_at] + struct.pack('>HH', 7000, 7000) + jpeg[frame_at + 4 :]
    bmp = struct.pack('<2sIII', b'BM', 54, 0, 54)
    webp = b'RIFF' + struct.pack('<I', 22) + b'WEBPVP8X' + struct.pack('<I', 10)
    return {
        'PNG 65535x65535': png(SIDE, SIDE, small),
        'PNG 2147483647 wide': png((1 << 31) - 1, 1, small),
        'PNG two headers': png(4, 4, small, [png(20_000, 20_000, b'')[8:33]]),
        'PNG second header is small': png(20_000, 20_000, black, [png(4, 4, b'')[8:33]]),
        'PNG zTXt': png(4, 4, small, [png_chunk(b'zTXt', b'a\0\0' + text)]),
        'PNG iTXt': png(4, 4, small, [png_chunk(b'iTXt', b'a\0\1\0\0\0' + text)]),
        'PNG iCCP': png(4, 4, small, [png_chunk(b'iCCP', b'a\0\0' + text)]),
        'PNG more rows than it says': png(4, 4, black),
        'PNG animation': png(
            4, 4, small, [png_chunk(b'acTL', animation), png_chunk(b'fcTL', frame)]
        ),
        'PNG 10,000 chunks': png(4, 4, small, [png_chunk(b'tEXt', b'a\0b')] * 10_000),
        'JPEG 65535x65535': large,
        'JPEG 5000 scans': wide[:-2] + last_scan * 5000 + b'\xff\xd9',
        'JPEG 1000 comments': jpeg[:2] + b'\xff\xfe\0\x02' * 1000 + jpeg[2:],
        'JPEG padded with FF': jpeg[:2] + b'\xff' * 200_000 + jpeg[2:],
        'BMP 65535x65535': bmp + struct.pack('<IiihhIIiiII', 40, SIDE, SIDE, 1, 24, *[0] * 6),
        'BMP height -2147483648': bmp
        + struct.pack('<IiihhIIiiII', 40, 1, -(1 << 31), 1, 24, *[0] * 6),
        'BMP run lengths': bmp
        + struct.pack('<IiihhIIiiII', 40, 7000, 7000, 1, 8, 1, 0, 0, 0, 0, 0)
        + b'\xff\0' * 50_000,
        'WEBP 16777216x16777216': webp + b'\x02\0\0\0' + b'\xff' * 6,
        'WEBP 16383x16383': webp + b'\x10\0\0\0' + b'\xfe\x3f\0' * 2,
        'TIFF 65535x65535': tiff(strip, black),
        'TIFF tags twice': tiff(sorted(twice, key=lambda entry: entry[0]), black),
        'TIFF large tile': tiff(tiles, black),
        'TIFF 65535 samples': tiff(_tiff_entries(4, 4, len(black), t277=SIDE), black),
        'TIFF large strip': tiff(_tiff_entries(4, 4, len(black), t278=1 << 31), black),
        'TIFF directories in a circle': tiff(_tiff_entries(4, 4, len(small)), small, 8),
        'TIFF 20,000 tags': tiff(
            [*_tiff_entries(4, 4, len(small)), *[(n, 4, 1, 0) for n in range(40_000, 60_000)]],
            small,
        ),
        'TIFF tag of 4 GB': tiff(
            [*_tiff_entries(4, 4, len(small)), (40_000, 2, (1 << 32) - 1, 8)], small
        ),
    }


@cache
def strangers() -> dict[str, bytes]:
    """Contents that are no image.

    Returns:
        dict[str, bytes]: By name.

    Example:
        >>> strangers()['empty']
        b''
    """
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, 'w', zipfile.ZIP_DEFLATED) as file:
        file.writestr('a.txt', 'text' * 1000)
    gif = io.BytesIO()
    Image.new('P', (8, 8)).save(gif, 'GIF')
    return {
        'empty': b'',
        'one byte': b'\xff',
        'HTML': b'<!doctype html><html><body><img src="file:///etc/hostname"></body></html>',
        'SVG': b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>',
        'ZIP': archive.getvalue(),
        'pickle': pickle.dumps(dict(a=1)),
        'GIF': gif.getvalue(),
        'PDF': b'%PDF-1.7\n1 0 obj<<>>endobj\n%%EOF',
        'EPS': b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n',
        'PPM': b'P6 65535 65535 255\n',
        'EXR': b'\x76\x2f\x31\x01' + bytes(100),
        'HDR': b'#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 65535 +X 65535\n',
        'JPEG 2000': b'\0\0\0\x0cjP  \r\n\x87\n' + bytes(100),
        'RIFF that is a WAVE': b'RIFF\x24\0\0\0WAVEfmt ' + bytes(40),
        'text': 'Größe: 12\n'.encode(),
        'zeros': bytes(10_000),
    }
