# SPDX-License-Identifier: Apache-2.0
"""How values and lists of names are written in the messages of the data checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ['list_some', 'show']


def show(value: Any) -> str:
    """Quote a value of unknown length."""
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:57]}...'


def list_some(names: Sequence[str], limit: int = 12) -> str:
    """List the first names in alphabetical order, with the number of all if some are left out."""
    names = sorted(names)
    more = f', ... ({len(names)} in all)' if len(names) > limit else ''
    return (', '.join(names[:limit]) + more) or 'none'
