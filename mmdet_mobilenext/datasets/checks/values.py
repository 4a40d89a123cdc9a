# SPDX-License-Identifier: Apache-2.0
"""What an entry of an annotation file may be: an id, numbers, the name of a file."""

from __future__ import annotations

import math
import re
import unicodedata

__all__ = ['finite_numbers', 'is_id', 'unsafe_path']


def is_id(value: object) -> bool:
    """Whether a value of a json file can be an id: a number or a text.

    Args:
        value (object): As it stands in the file.

    Example:
        >>> is_id(7), is_id('7'), is_id(True), is_id(None)
        (True, True, False, False)
    """
    return isinstance(value, (int, float, str)) and not isinstance(value, bool)


def finite_numbers(values: object, number: int | None = None) -> tuple[float, ...] | None:
    """Turn values into numbers.

    Args:
        values (object): A sequence of numbers, or of texts.
        number (int, optional): How many there must be. Defaults to None, any number.

    Returns:
        tuple[float]: The numbers; None if they are not finite numbers, or not so many.

    Example:
        >>> finite_numbers(['1', 2.5]), finite_numbers([1, float('nan')]), finite_numbers(7)
        ((1.0, 2.5), None, None)
    """
    if not isinstance(values, (list, tuple)) or any(isinstance(v, bool) for v in values):
        return None
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError, OverflowError):
        return None
    good = all(map(math.isfinite, numbers)) and number in (None, len(numbers))
    return numbers if good else None


def unsafe_path(name: object) -> str:
    """Say why a file name of a source is not followed.

    Args:
        name (object): As it stands in the json, text or yaml file.

    Returns:
        str: What is wrong, ``''`` if nothing is.

    Example:
        >>> unsafe_path('train/a b.jpg'), unsafe_path('../a.jpg'), unsafe_path('C:/a.jpg')
        ('', "goes out with '..'", 'is absolute')
    """
    if not isinstance(name, str) or not name.strip():
        return 'is no file name'
    parts = name.replace('\\', '/')
    if parts.startswith(('/', '~')) or re.match(r'[A-Za-z]:', parts) or '://' in parts:
        return 'is absolute'
    if '..' in parts.split('/'):
        return "goes out with '..'"
    categories = {unicodedata.category(character) for character in name}
    if 'Cc' in categories:
        return 'has control characters'
    if 'Cs' in categories:  # json can write half of a pair, which no file system takes
        return 'has half a surrogate pair'
    return ''
