# SPDX-License-Identifier: Apache-2.0
"""Class names from the command line."""

from __future__ import annotations

from pathlib import Path

from .paths import read_text
from .records import ImportDataError, clean_class_name
from .report import ImportReport
from .yolo_yaml import load_yaml, read_names

__all__ = ['read_class_names']


def read_class_names(value: str) -> tuple[str, ...]:
    """Read names from a text file, a ``data.yaml`` or a list with commas.

    Args:
        value (str): ``'a,b'``, or a file that ends in ``.txt``, ``.names``, ``.yaml`` or ``.yml``.

    Returns:
        tuple[str]: Names in order.

    Raises:
        ImportDataError: A name is there twice, or is none, or the file is not UTF-8.
        FileNotFoundError: There is no such file.

    Example:
        >>> read_class_names('cat, fire engine')
        ('cat', 'fire engine')
    """
    path = Path(value)
    if len(path.parts) > 1 and not path.is_file() and ',' not in value:
        raise FileNotFoundError(f'--classes: no file {value}')
    if path.suffix in ('.yaml', '.yml'):
        names = list(read_names(load_yaml(path), path, ImportReport()).values())
    elif path.suffix in ('.txt', '.names') or (len(path.parts) > 1 and path.is_file()):
        names = [line for line in read_text(path).splitlines() if line.strip()]
    else:
        names = value.split(',')
    names = [clean_class_name(name, value, ImportReport()) for name in names]
    double = sorted({name for name in names if names.count(name) > 1})
    if double or not names:
        raise ImportDataError(f'--classes {value}: names must be there, each once; twice: {double}')
    return tuple(names)
