# SPDX-License-Identifier: Apache-2.0
"""Sizes as people write them."""

from __future__ import annotations

import re

__all__ = ['format_bytes', 'parse_bytes']

_UNITS = {
    '': 1,
    **{f'{prefix}b': 1000**i for i, prefix in enumerate(('', 'k', 'm', 'g', 't'))},
    **{f'{prefix}ib': 1024 ** (i + 1) for i, prefix in enumerate('kmgt')},
}


def parse_bytes(size: int | str) -> int:
    """Bytes of a number or a text such as ``2GiB`` or ``500 MB``.

    Args:
        size (int | str): A number of bytes, or a number with B, kB, MB, GB, TB (powers of 1000) or
            KiB, MiB, GiB, TiB (powers of 1024).

    Returns:
        int: Bytes, at least 1.

    Raises:
        ValueError: If it is none of these.

    Example:
        >>> parse_bytes('2GiB'), parse_bytes('1.5 MB'), parse_bytes(10)
        (2147483648, 1500000, 10)
    """
    match = re.fullmatch(r'\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*', str(size), re.IGNORECASE)
    unit = _UNITS.get(match[2].lower()) if match and not isinstance(size, bool) else None
    result = int(float(match[1]) * unit) if unit else 0
    if result < 1:
        raise ValueError(
            f'max_bytes is {size!r}, but has to be a number of bytes above 0 or a text such as '
            "'2GiB' or '500MB'"
        )
    return result


def format_bytes(num_bytes: int) -> str:
    """Text of a number of bytes.

    Args:
        num_bytes (int): Bytes; negative ones count as 0.

    Returns:
        str: With one decimal and a unit of 1024.

    Example:
        >>> format_bytes(2147483648), format_bytes(1536), format_bytes(7)
        ('2.0 GiB', '1.5 KiB', '7 B')
    """
    value = float(max(num_bytes, 0))
    for unit in ('B', 'KiB', 'MiB', 'GiB', 'TiB'):
        if value < 1024 or unit == 'TiB':
            break
        value /= 1024
    return f'{value:.0f} B' if unit == 'B' else f'{value:.1f} {unit}'
