# SPDX-License-Identifier: Apache-2.0
"""One decoded image as a file: a header of 64 bytes, then the pixels."""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from typing import NamedTuple

import numpy as np

__all__ = ['FORMAT', 'Version', 'occupied', 'read_entry', 'write_entry']

FORMAT = 1
"""Version of the file layout; a part of every key."""

_MAGIC = b'MNXIMG01'
# magic, size and mtime_ns of the image file, height, width, channels (0: no such axis), CRC-32
_HEADER = struct.Struct('<8s2q4I24x')
_PAGE = 4096


class Version(NamedTuple):
    """State of an image file; another one means other pixels."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: str) -> Version:
        """Ask the file system.

        Args:
            path (str): Image file.

        Returns:
            Version: Size in bytes, time of the last change in nanoseconds.

        Raises:
            OSError: If there is no such file.
        """
        status = os.stat(path)
        return cls(status.st_size, status.st_mtime_ns)


def occupied(num_bytes: int) -> int:
    """Memory or disk space of a file of that length, in whole pages.

    Args:
        num_bytes (int): Length of the file.

    Returns:
        int: Bytes, a multiple of 4096.

    Example:
        >>> occupied(1), occupied(4096), occupied(4097)
        (4096, 4096, 8192)
    """
    return -(-num_bytes // _PAGE) * _PAGE


def entry_length(image: np.ndarray) -> int:
    """Length in bytes of the file of an image."""
    return _HEADER.size + image.nbytes


def write_entry(path: str, temporary: str, image: np.ndarray, version: Version) -> None:
    """Write an entry beside its place, then rename it, so that no reader sees a part of it.

    It is not forced to disk, which would cost more than decoding: after a power failure the length
    or the checksum is wrong, and the entry is not used.

    Args:
        path (str): The entry.
        temporary (str): A file in the same folder that nobody else writes.
        image (np.ndarray): (H, W) or (H, W, C), uint8.
        version (Version): State of the image file before it was decoded.

    Raises:
        OSError: If it cannot be written; no temporary file is left.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> path, image = os.path.join(folder, 'a'), np.arange(6, dtype=np.uint8).reshape(2, 3)
        >>> write_entry(path, f'{path}.tmp', image, Version(1, 2))
        >>> read_entry(path, Version(1, 2)).tolist(), read_entry(path, Version(1, 3))
        ([[0, 1, 2], [3, 4, 5]], None)
    """
    pixels = np.ascontiguousarray(image).reshape(-1)
    shape = (*image.shape, 0)[:3]
    try:
        with open(temporary, 'wb') as file:
            file.write(_HEADER.pack(_MAGIC, *version, *shape, zlib.crc32(pixels)))
            file.write(pixels)
        os.replace(temporary, path)
    except OSError:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise


def read_entry(path: str, version: Version, verify: bool = False) -> np.ndarray | None:
    """Map an entry into memory, without copying it.

    Args:
        path (str): The entry.
        version (Version): State of the image file now.
        verify (bool): Compare the checksum. Defaults to False.

    Returns:
        np.ndarray | None: (H, W) or (H, W, C), uint8, read-only; None if there is no entry, or one
        of another version, or a damaged one. The pixels stay if the entry is replaced or removed.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        # Shorter than a header: no entry (and an empty file cannot be mapped at all).
        if os.fstat(descriptor).st_size < _HEADER.size:
            return None
        mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    finally:
        os.close(descriptor)
    magic, size, mtime_ns, height, width, channels, checksum = _HEADER.unpack_from(mapped)
    shape = (height, width, channels) if channels else (height, width)
    length = _HEADER.size + height * width * max(channels, 1)
    if magic != _MAGIC or (size, mtime_ns) != version or length != len(mapped):
        return None
    pixels = np.frombuffer(mapped, np.uint8, offset=_HEADER.size)
    if verify and zlib.crc32(pixels) != checksum:
        return None
    return pixels.reshape(shape)
