# SPDX-License-Identifier: Apache-2.0
"""What the command lines that measure have in common."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from ..errors import BenchmarkError, RunFailedError

__all__ = ['check_writable', 'raise_if_failed', 'wide_console']


def check_writable(option: str, path: str | None) -> None:
    """Find out before hours of measuring whether a file can be written. Its folder is made.

    Args:
        option (str): Of the command line, for messages.
        path (str, optional): File, None if it was not asked for.

    Raises:
        BenchmarkError: If it cannot be written.

    Example:
        >>> check_writable('--json', None)
    """
    if not path:
        return
    folder = Path(path).resolve().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchmarkError(
            f'{option} {path}: cannot make the folder {folder} ({error})'
        ) from None
    if Path(path).is_dir() or not os.access(folder, os.W_OK):
        is_folder = Path(path).is_dir()
        why = 'is a folder' if is_folder else f'cannot be written: no permission for {folder}'
        raise BenchmarkError(f'{option} {path} {why}: name a file that can be written')


def wide_console(console: Console | None, width: int) -> Console:
    """Where tables are printed.

    Args:
        console (Console, optional): Defaults to stdout.
        width (int): Least number of columns where it is no terminal.

    Returns:
        Console: Wide enough.

    Example:
        >>> import io
        >>> wide_console(Console(file=io.StringIO(), width=80), 120).width
        120
    """
    console = console or Console()
    if not console.is_terminal:
        console.width = max(console.width, width)
    return console


def raise_if_failed(errors: Sequence[str]) -> None:
    """End with an error if a measurement failed; all else was measured and written.

    Args:
        errors (Sequence[str]): What failed, and how. First lines are shown.

    Raises:
        RunFailedError: With all of them.

    Example:
        >>> raise_if_failed([])
    """
    if errors:
        lines = '\n  '.join(error.splitlines()[0] for error in errors)
        raise RunFailedError(f'{len(errors)} measurement(s) failed:\n  {lines}')
