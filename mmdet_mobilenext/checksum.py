# SPDX-License-Identifier: Apache-2.0
"""Checksums of files."""

import hashlib
import os

__all__ = ['sha256_of']


def sha256_of(path: str | os.PathLike) -> str:
    """SHA-256 of a file.

    Args:
        path (str | PathLike): File to read, in pieces: it may be larger than the memory.

    Returns:
        str: 64 hexadecimal digits.

    Example:
        >>> sha256_of(os.devnull)[:8]
        'e3b0c442'
    """
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
