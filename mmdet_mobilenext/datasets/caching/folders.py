# SPDX-License-Identifier: Apache-2.0
"""Folders of a cache: who may use them, when they go, and how full they are."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mmengine.logging import print_log

from mmdet_mobilenext.engine.atomic_checkpoint_hook import AtomicLocalBackend

from .entries import occupied

__all__ = ['Ledger', 'SharedMemoryFolder', 'open_disk_folder']

MARKER = 'MMDET_MOBILENEXT_IMAGE_CACHE.txt'
"""File that tells that a folder on disk is a cache."""

PREFIX = 'mmdet_mobilenext_images'
"""Names of folders in shared memory begin with it."""

_MARKER_TEXT = """\
Decoded images, kept by mmdet_mobilenext (`cache` in a data pipeline) for the next run.
Everything in this folder can be deleted at any time; it is decoded again when it is needed.
"""


class SharedMemoryFolder:
    """A folder in a memory file system that lives as long as a process that uses it.

    Processes of one user that ask for the same name share the folder: ranks, runs and data loader
    workers. Each holds a shared lock on a file beside it, which the kernel drops when the process
    ends, however that happens. Who can lock it exclusively is alone: the last one to leave removes
    the folder, and if it was killed the next one to come does.

    Args:
        parent (str): Where, such as ``/dev/shm``.
        name (str): Name of the folder, to which prefix and user are added.
        fresh (bool): Remove what no living process uses: folders of runs that were killed, the one
            of this name too. Defaults to True.

    Attributes:
        path (str): The folder.

    Raises:
        PermissionError: If the folder belongs to another user.

    Example:
        >>> import tempfile
        >>> folder = SharedMemoryFolder(tempfile.mkdtemp(), 'example')
        >>> path = folder.path
        >>> os.path.isdir(path), folder.close(), os.path.isdir(path)
        (True, None, False)
    """

    def __init__(self, parent: str, name: str, fresh: bool = True) -> None:
        prefix = f'{PREFIX}-{os.getuid()}-'
        self.path = os.path.join(parent, prefix + name)
        lock = f'{self.path}.lock'
        if fresh:
            for other in sorted(Path(parent).glob(f'{prefix}*.lock')):
                _remove_if_unused(str(other))
        while True:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            # Removed by the last user while we waited: that lock guards nothing any more.
            if _is_file_of(descriptor, lock):
                break
            os.close(descriptor)
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        if os.stat(self.path).st_uid != os.getuid():
            os.close(descriptor)
            raise PermissionError(
                f'{self.path} belongs to another user (uid {os.stat(self.path).st_uid}): '
                'remove it or choose another directory for the cache'
            )
        # At the end of the process too.
        self.close = weakref.finalize(self, _leave, descriptor, lock, os.getpid())


def _is_file_of(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _remove_if_alone(descriptor: int, lock: str) -> bool:
    """Remove folder and lock file if no other process holds the lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    if not _is_file_of(descriptor, lock):
        return False
    shutil.rmtree(lock.removesuffix('.lock'), ignore_errors=True)
    os.remove(lock)
    return True


def _remove_if_unused(lock: str) -> None:
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        if _remove_if_alone(descriptor, lock):
            print_log(
                f'Removed {lock.removesuffix(".lock")}, left by a run that was killed',
                logger='current',
            )
    finally:
        os.close(descriptor)


def _leave(descriptor: int, lock: str, pid: int) -> None:
    # A forked worker has this lock in common with its parent, so could not tell if that is alive.
    if os.getpid() == pid:
        _remove_if_alone(descriptor, lock)
    os.close(descriptor)


def open_disk_folder(directory: str | os.PathLike) -> str:
    """Make a folder on disk ready for a cache.

    Args:
        directory (str | PathLike): An empty or new folder, or one that has been a cache before.

    Returns:
        str: Its absolute path.

    Raises:
        FileExistsError: If it has other content.

    Example:
        >>> import tempfile
        >>> os.listdir(open_disk_folder(tempfile.mkdtemp()))
        ['MMDET_MOBILENEXT_IMAGE_CACHE.txt']
    """
    path = os.path.abspath(directory)
    os.makedirs(path, exist_ok=True)
    names = os.listdir(path)
    # Looked for after listing: another rank writes the marker before anything else.
    if not os.path.exists(os.path.join(path, MARKER)):
        foreign = sorted(n for n in names if not n.startswith(f'.{MARKER}'))
        if foreign:
            raise FileExistsError(
                f'{path} is not empty and no image cache, it has {foreign[:3]}: give a new or an '
                f'empty folder as directory of the cache (a cache has the file {MARKER})'
            )
        AtomicLocalBackend().put_text(_MARKER_TEXT, os.path.join(path, MARKER))
    return path


@dataclass
class Usage:
    """What a folder holds.

    Attributes:
        num_bytes (int): Space of all entries, in whole pages.
        num_images (int): Entries.
        told (int): Whether it was logged that the cache is full.
    """

    num_bytes: int = 0
    num_images: int = 0
    told: int = 0


class Ledger:
    """The :class:`Usage` of a folder in a file, common to all processes.

    Args:
        path (str): The file.

    Example:
        >>> import tempfile
        >>> ledger = Ledger(os.path.join(tempfile.mkdtemp(), 'ledger'))
        >>> with ledger.locked() as (usage, save):
        ...     usage.num_images += 1
        ...     save()
        >>> ledger.read()
        Usage(num_bytes=0, num_images=1, told=0)
    """

    _LAYOUT = struct.Struct('<3q')

    def __init__(self, path: str) -> None:
        self.path = path

    def _load(self, descriptor: int) -> Usage:
        content = os.pread(descriptor, self._LAYOUT.size, 0)
        complete = len(content) == self._LAYOUT.size
        return Usage(*self._LAYOUT.unpack(content)) if complete else Usage()

    def read(self) -> Usage:
        """Look without waiting for writers.

        Returns:
            Usage: As it is or was a moment ago; zeros if nothing was written yet.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return Usage()
        try:
            return self._load(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def locked(self) -> Iterator[tuple[Usage, Callable[[], None]]]:
        """Be the only writer of the folder; a writer that is killed lets the next one in.

        Yields:
            tuple[Usage, Callable]: The usage, to be changed in place, and a function that saves it.
        """
        # Opened anew each time: a lock goes with an open file, which forks and threads would share.
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            usage = self._load(descriptor)

            def save() -> None:
                values = (usage.num_bytes, usage.num_images, usage.told)
                os.pwrite(descriptor, self._LAYOUT.pack(*values), 0)

            yield usage, save
        finally:
            os.close(descriptor)


def recount(images: str, max_bytes: int) -> tuple[Usage, int]:
    """Count the entries of a folder, and clean it; to be called by its only writer.

    Temporary files are of writers that were killed. If the limit is lower than it was the oldest
    entries are removed.

    Args:
        images (str): Folder of the entries.
        max_bytes (int): Limit in bytes.

    Returns:
        tuple[Usage, int]: What is there now, and how many entries were removed.
    """
    entries = []
    with os.scandir(images) as listing:
        for entry in listing:
            if entry.name.endswith('.tmp'):
                os.remove(entry.path)
            else:
                status = entry.stat()
                entries.append((status.st_mtime_ns, entry.path, occupied(status.st_size)))
    usage = Usage(sum(size for _, _, size in entries), len(entries))
    removed = 0
    for _, path, size in sorted(entries):
        if usage.num_bytes <= max_bytes:
            break
        os.remove(path)
        usage.num_bytes -= size
        usage.num_images -= 1
        removed += 1
    return usage, removed
