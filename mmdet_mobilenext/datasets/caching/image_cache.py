# SPDX-License-Identifier: Apache-2.0
"""A cache of decoded images that all processes of a machine share.

Both backends are one design: a file of raw pixels for each image, in a folder in memory
(``/dev/shm``) or on disk, that readers map and the kernel's page cache shares. A ledger in the
folder counts bytes under a lock of the file system, and entries are written under that lock, so
the limit holds for all writers together. Libraries do not fit: ``diskcache`` evicts, or with its
policy ``none`` does not bound the size, and copies every image through SQLite or a pickle; an LMDB
environment cannot be carried over a fork, which is how data loader workers start.

Nothing is evicted. An epoch visits every image once, so an image is least likely to come again
soon right after it was used: with room for a part of the set, eviction would replace each entry
before its next visit, while the first images kept give hits in proportion to the room.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from mmengine.logging import print_log

from .entries import Version, entry_length, occupied, read_entry, write_entry
from .folders import Ledger, SharedMemoryFolder, open_disk_folder, recount
from .settings import describe_settings
from .sizes import format_bytes, parse_bytes

__all__ = ['CachedImageStore']

BACKENDS = ('shared_memory', 'disk')

# Of /dev/shm, through which data loader workers hand over their batches.
SHARED_MEMORY_RESERVE = 256 * 1024**2


class CachedImageStore:
    """Decoded images in shared memory or on disk, at most ``max_bytes`` of them.

    Processes with the same backend, directory and ``max_bytes`` have one cache in common: data
    loader workers, however started, and all ranks and runs of the user on the machine. When it is
    full, further images are decoded each time and nothing is evicted. An entry is used only for
    the same path, reduction, settings and decoder version, and only while size and time of change
    of the image file are the same.

    A cache in shared memory goes with the last process that uses it; if that was killed, the next
    run with such a cache removes it. A cache on disk stays for the next run.

    Args:
        backend (str): ``shared_memory`` or ``disk``.
        max_bytes (int | str): Most space the entries take, such as ``'2GiB'``. An image takes
            height x width x 3 bytes, rounded up to 4 KiB.
        directory (str | PathLike, optional): For ``disk`` an empty or new folder, or an older
            cache; for ``shared_memory`` a folder of a memory file system. Defaults to None, which
            is ``/dev/shm`` for ``shared_memory``; ``disk`` needs one.
        max_side (int, optional): Scale images down (area average) until the longer side has so
            many pixels. The result is approximate: the scaled image has other pixels and another
            size than the file, which the caller must allow for. Defaults to None, not scaled.
        settings (dict, optional): All else that pixels depend on, as JSON. Defaults to None, which
            is colour images (BGR) decoded by OpenCV.

    Raises:
        ValueError: If an argument cannot be used, or there is not enough free space.
        FileExistsError: If the folder on disk is not empty and no cache.
        PermissionError: If the folder in shared memory is of another user.

    Example:
        >>> import os, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> path = os.path.join(folder, 'a.png')
        >>> _ = cv2.imwrite(path, np.full((4, 6, 3), 7, np.uint8))
        >>> store = CachedImageStore('disk', '1 MB', directory=os.path.join(folder, 'cache'))
        >>> for epoch in range(3):
        ...     image = store.get(path, 1, lambda: cv2.imread(path))
        >>> image.shape, image.flags.writeable, store.statistics()['hits']
        ((4, 6, 3), False, 2)
    """

    def __init__(
        self,
        backend: str,
        max_bytes: int | str,
        directory: str | os.PathLike | None = None,
        max_side: int | None = None,
        settings: dict | None = None,
    ) -> None:
        if backend not in BACKENDS:
            raise ValueError(f'backend of the cache is {backend!r}, but has to be of {BACKENDS}')
        if max_side is not None and not (isinstance(max_side, int) and max_side > 0):
            raise ValueError(f'max_side is {max_side!r}, but has to be a whole number above 0')
        self.backend = backend
        self.max_bytes = parse_bytes(max_bytes)
        self.max_side = max_side
        self._context = describe_settings(settings, max_side)
        if backend == 'disk':
            if directory is None:
                raise ValueError("directory of the cache is None, but backend 'disk' needs one")
            self._parent = os.path.abspath(directory)
        else:
            self._parent = os.path.abspath('/dev/shm' if directory is None else directory)
            if not os.path.isdir(self._parent):
                raise ValueError(
                    f'there is no {self._parent}, so no shared memory for the cache: use '
                    "backend='disk' or give the folder of a memory file system as directory"
                )
        self._attach(fresh=True)
        self._prepare()

    def _attach(self, fresh: bool) -> None:
        """Find the folder, in this process."""
        self._owner: SharedMemoryFolder | None = None
        if self.backend == 'disk':
            self.directory = open_disk_folder(self._parent)
        else:
            self._owner = SharedMemoryFolder(self._parent, str(self.max_bytes), fresh)
            self.directory = self._owner.path
        self._images = os.path.join(self.directory, 'images')
        os.makedirs(self._images, exist_ok=True)
        self._ledger = Ledger(os.path.join(self.directory, 'ledger'))
        self._counts = dict(hits=0, misses=0, stored=0, refused=0)
        self._broken = False
        # Entries on disk may be older than a power failure: each is checked once in a process.
        self._trusted: set[tuple[str, Version]] = set()

    def __getstate__(self) -> dict[str, Any]:
        kept = ('backend', 'max_bytes', 'max_side', '_context', '_parent')
        return {name: getattr(self, name) for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._attach(fresh=False)

    def _prepare(self) -> None:
        """Count what is there, clean up after killed writers and check that there is room."""
        with self._ledger.locked() as (usage, save):
            found, removed = recount(self._images, self.max_bytes)
            usage.__dict__.update(found.__dict__)
            save()
        free = shutil.disk_usage(self.directory).free
        reserve = SHARED_MEMORY_RESERVE if self.backend == 'shared_memory' else 0
        if self.max_bytes - usage.num_bytes > free - reserve:
            kept = f' and {format_bytes(reserve)} of it are for the data loader' if reserve else ''
            most = free - reserve + usage.num_bytes
            advice = f'set max_bytes to {most} ({format_bytes(most)}) or less, ' if most > 0 else ''
            raise ValueError(
                f'max_bytes of the image cache is {format_bytes(self.max_bytes)}, of which '
                f'{format_bytes(usage.num_bytes)} are used, but {self.directory} has '
                f'{format_bytes(free)} free{kept}: {advice}make room, '
                'or choose another backend or directory'
            )
        print_log(
            f'Image cache in {self.directory}: {usage.num_images} images, '
            f'{format_bytes(usage.num_bytes)} of {format_bytes(self.max_bytes)}'
            + (f', after removing {removed} of a larger cache' if removed else ''),
            logger='current',
        )

    def get(
        self, path: str | os.PathLike, reduction: int, decode: Callable[[], np.ndarray]
    ) -> np.ndarray:
        """Give an image, from the cache if it is there.

        Args:
            path (str | PathLike): Image file in the local file system.
            reduction (int): By how much ``decode`` scales the image down, 1 for not at all.
            decode (Callable): Decodes the image; called if the cache does not have it.

        Returns:
            np.ndarray: (H, W, C) or (H, W), uint8, read-only, scaled down to ``max_side``.

        Raises:
            OSError: If there is no such file.
            ValueError: If the path is a URI, or ``decode`` gives anything but a uint8 image.
        """
        path = os.fspath(path)
        if '://' in path:
            raise ValueError(f'a cache needs images in the local file system, but received {path}')
        # Before decoding: if the file changes meanwhile the entry is of an old version, not wrong.
        version = Version.of(path)
        key = f'{os.path.abspath(path)}\0{reduction}\0{self._context}'.encode()
        name = hashlib.blake2b(key, digest_size=16).hexdigest()
        entry = os.path.join(self._images, f'{name}.img')
        verify = self.backend == 'disk' and (name, version) not in self._trusted
        image = read_entry(entry, version, verify)
        if image is not None:
            self._counts['hits'] += 1
            if verify:
                self._trusted.add((name, version))
            return image

        self._counts['misses'] += 1
        image = self._scale(decode(), path)
        if not self._broken:
            try:
                self._store(entry, image, version)
            except OSError as error:
                # A full disk must not stop a training that can go on without the cache.
                self._broken = True
                print_log(
                    f'The image cache cannot store {path} in {self.directory} ({error}): this '
                    'process stores no more images and decodes those that are missing each time',
                    logger='current',
                    level=logging.WARNING,
                )
        image = image.view()
        image.flags.writeable = False
        return image

    def _scale(self, image: np.ndarray, path: str) -> np.ndarray:
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim not in (2, 3):
            what = getattr(image, 'dtype', type(image).__name__), getattr(image, 'shape', None)
            raise ValueError(
                f'{path} was decoded to {what[0]} of shape {what[1]}, but the cache is for uint8 '
                'images (H, W, C) or (H, W): leave out the cache for this data set'
            )
        height, width = image.shape[:2]
        factor = (self.max_side or np.inf) / max(height, width, 1)
        if factor >= 1:
            return image
        size = (max(round(width * factor), 1), max(round(height * factor), 1))
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA)

    def _store(self, entry: str, image: np.ndarray, version: Version) -> None:
        """Write an entry if there is room for it."""
        needed = occupied(entry_length(image))
        usage = self._ledger.read()  # full is the usual case of a miss: no lock for that
        if usage.told and usage.num_bytes + needed > self.max_bytes and not os.path.exists(entry):
            self._counts['refused'] += 1
            return
        with self._ledger.locked() as (usage, save):
            if read_entry(entry, version, verify=self.backend == 'disk') is not None:
                return  # another process was first
            if os.path.exists(entry):  # of an older file, or damaged
                size = os.path.getsize(entry)
                os.remove(entry)
                usage.num_bytes -= occupied(size)
                usage.num_images -= 1
                save()
            refused = usage.num_bytes + needed > self.max_bytes
            tell = refused and not usage.told
            if refused:
                self._counts['refused'] += 1
                usage.told = 1
                save()
            else:
                # Counted first: if this process is killed now, the limit holds all the same.
                usage.num_bytes += needed
                usage.num_images += 1
                save()
                try:
                    write_entry(entry, os.path.join(self._images, 'entry.tmp'), image, version)
                except OSError:
                    usage.num_bytes -= needed
                    usage.num_images -= 1
                    save()
                    raise
                self._counts['stored'] += 1
        if tell:
            print_log(
                f'The image cache in {self.directory} is full at {format_bytes(usage.num_bytes)} '
                f'of {format_bytes(self.max_bytes)}: {usage.num_images} images are cached, the '
                'others are decoded each time',
                logger='current',
            )

    def statistics(self) -> dict[str, int]:
        """What the cache holds, and what this process did.

        Returns:
            dict[str, int]: ``num_images`` and ``num_bytes`` of the cache; ``hits``, ``misses``,
            ``stored`` and ``refused`` (misses for which there was no room) of this process alone.
        """
        usage = self._ledger.read()
        return dict(num_images=usage.num_images, num_bytes=usage.num_bytes, **self._counts)

    def close(self) -> None:
        """Leave the cache; in shared memory the last one to leave removes it."""
        if self._owner is not None:
            self._owner.close()

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(backend={self.backend!r}, max_bytes={self.max_bytes}, '
            f'directory={self._parent!r}, max_side={self.max_side})'
        )
