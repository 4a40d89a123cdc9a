# SPDX-License-Identifier: Apache-2.0
"""The folder of uploaded pictures, which does not grow."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

from .limits import WebLimits

__all__ = ['UploadFolder']


class UploadFolder:
    """Keeps the folder in its bounds.

    Gradio removes what is old (``delete_cache``) of the files that it knows. Here go what aborted
    uploads leave, empty folders, and the oldest when there are too many bytes.

    Args:
        path (str | PathLike): The folder.
        limits (WebLimits): Bytes and seconds.

    Example:
        >>> import tempfile
        >>> folder = UploadFolder(tempfile.mkdtemp(), WebLimits())
        >>> _ = (folder.path / 'a').write_bytes(b'1234')
        >>> folder.make_room(WebLimits().max_folder_bytes - 4), folder.make_room(10 ** 9)
        ([], ['a'])
    """

    def __init__(self, path: str | os.PathLike, limits: WebLimits) -> None:
        self.path, self.limits = Path(path).resolve(), limits

    def make_room(self, size: int) -> list[str]:
        """Remove old files until so many bytes are free.

        Args:
            size (int): Bytes of what comes.

        Returns:
            list[str]: Names of what was removed, relative to the folder.
        """
        # a minute more than Gradio's own, which also forgets the names of those that it removes
        oldest = time.time() - self.limits.keep_seconds - 120
        files = []
        for root, folders, names in os.walk(self.path, topdown=False):
            for name in names:
                path = os.path.join(root, name)
                try:
                    found = os.lstat(path)
                except FileNotFoundError:
                    continue
                files.append((found.st_mtime, found.st_size, path))
            if not folders and not names and root != str(self.path):
                _remove_empty(root)
        total = sum(found for _, found, _ in files)
        removed = []
        for time_of_change, found, path in sorted(files):
            if time_of_change > oldest and total + size <= self.limits.max_folder_bytes:
                break
            try:
                os.remove(path)
            except FileNotFoundError:  # Gradio was faster
                pass
            total -= found
            removed.append(os.path.relpath(path, self.path))
        return removed

    def uploaded(self, path: object) -> str:
        """Check that a path which a visitor names is a file that was uploaded.

        Args:
            path (object): Of a request.

        Returns:
            str: The same.

        Raises:
            ValueError: If it is anything else: outside, a link, a folder, a web address.
        """
        try:
            inside = Path(path).resolve(strict=True)
            regular = stat.S_ISREG(os.lstat(path).st_mode)
        except (OSError, TypeError, ValueError, RuntimeError):
            inside, regular = None, False
        if not regular or inside != Path(path) or self.path not in inside.parents:
            raise ValueError('the file was not uploaded here, or is no longer kept: drop it again')
        return str(inside)


def _remove_empty(folder: str) -> None:
    """Remove an empty folder, unless it is so new that an upload may be about to use it."""
    try:
        if time.time() - os.lstat(folder).st_mtime > 60:
            os.rmdir(folder)
    except OSError:  # it is in use, after all
        pass
