# SPDX-License-Identifier: Apache-2.0
"""The folder of a result: what was written to it, and what its owner did to it since."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import pooch

from .report import RECORD_NAME

__all__ = ['OutFolder', 'find_own_files']


class OutFolder:
    """A new folder that knows what was written to it. Its methods may be called from threads.

    Args:
        root (Path): The folder; it is made.

    Example:
        >>> import tempfile
        >>> out = OutFolder(Path(tempfile.mkdtemp()) / 'set')
        >>> out.write_lines('lists/train.txt', ['a', 'b'])
        >>> out.write_record()
        >>> find_own_files(out.root)
        []
        >>> _ = (out.root / 'lists/train.txt').write_text('a, and more')
        >>> (out.root / 'lists/mine.txt').touch()
        >>> find_own_files(out.root)
        ['lists/mine.txt', 'lists/train.txt (changed)']
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.root.mkdir(parents=True)
        self._files: dict[str, tuple[int, int, str]] = {}

    def write(self, name: str, content: bytes) -> None:
        """Write a file.

        Args:
            name (str): Path in the folder, with ``/``.
            content (bytes): Content.

        Raises:
            OSError: If it cannot be written whole; it names file and disk, and no part is left.
        """
        path = self.root / name
        with self._naming(path, f'{len(content)} bytes'):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self._note(name, path, content)

    def write_lines(self, name: str, lines: Sequence[str]) -> None:
        """Write a text file, UTF-8, with a line feed behind each line.

        Args:
            name (str): See :meth:`write`, also for what is raised.
            lines (Sequence[str]): The lines.
        """
        self.write(name, ''.join(f'{line}\n' for line in lines).encode())

    def link(self, name: str, source: Path, content: bytes) -> str:
        """Link a file: hard, or symbolic where that is not possible.

        Args:
            name (str): See :meth:`write`, also for what is raised.
            source (Path): The file to link to.
            content (bytes): What it holds.

        Returns:
            str: ``'hard'`` or ``'symbolic'``.
        """
        path, real, kind = self.root / name, source.resolve(), 'hard'
        with self._naming(path, f'a link to {real}'):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(real, path)
            except OSError:  # another file system, or one without hard links
                os.symlink(real, path)
                kind = 'symbolic'
        self._note(name, path, content)
        return kind

    def write_record(self) -> None:
        """Write the record of all files, for :func:`find_own_files`."""
        text = json.dumps(dict(files=self._files), ensure_ascii=False, sort_keys=True)
        self.write(RECORD_NAME, text.encode())

    def _note(self, name: str, path: Path, content: bytes) -> None:
        time = path.stat().st_mtime_ns
        self._files[name] = (len(content), time, hashlib.sha256(content).hexdigest())

    @contextlib.contextmanager
    def _naming(self, path: Path, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            disk = self.root.resolve()
            while not os.path.ismount(disk):
                disk = disk.parent
            room = os.statvfs(disk)
            free = f'{room.f_bavail * room.f_frsize / 1e9:.1f} GB free'
            if room.f_files and not room.f_favail:
                free += ', but no room for another file (inodes)'
            reason = (
                f'cannot write {what} ({error.strerror or error}; the disk at {disk} has {free})'
            )
            raise OSError(error.errno, reason, str(path)) from error


def find_own_files(root: Path) -> list[str]:
    """Find what is in an imported folder, but was not imported so.

    A file counts as unchanged if it has the size and the time of then, or else the same bytes: only
    files of another time are read. Links, and files with a second name, are lost nowhere.

    Args:
        root (Path): The folder.

    Returns:
        list[str]: Paths in it with ``/``, in order: files and folders that were added, and files
        that were changed.

    Raises:
        FileNotFoundError: It has no record of its files.
        ValueError: The record is damaged.
    """
    try:
        files = json.loads((root / RECORD_NAME).read_text(encoding='utf-8'))['files']
        written = {name: (size, time, digest) for name, (size, time, digest) in files.items()}
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f'{root / RECORD_NAME} is damaged') from error
    folders = {parent for name in written for parent in _parents(name)}
    own = []
    for folder, below, names in os.walk(root, onerror=_raise):
        start = Path(folder).relative_to(root).as_posix() + '/'
        start = '' if start == './' else start
        added = [n for n in below if start + n not in folders or Path(folder, n).is_symlink()]
        own += [f'{start}{name}/' for name in added]
        below[:] = [name for name in below if name not in added]
        for name in names:
            if start + name not in written and start + name != RECORD_NAME:
                own.append(start + name)
            elif start + name in written and _is_changed(
                Path(folder, name), *written[start + name]
            ):
                own.append(f'{start}{name} (changed)')
    return sorted(own)


def _parents(name: str) -> Iterator[str]:
    while name := name.rpartition('/')[0]:
        yield name


def _raise(error: OSError) -> None:
    raise error


def _is_changed(path: Path, size: int, time: int, digest: str) -> bool:
    info = path.lstat()
    if stat.S_ISLNK(info.st_mode) or info.st_nlink > 1:
        return False
    if info.st_size == size and info.st_mtime_ns == time:
        return False
    return info.st_size != size or pooch.file_hash(path, 'sha256') != digest
