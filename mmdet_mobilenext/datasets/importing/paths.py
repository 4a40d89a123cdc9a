# SPDX-License-Identifier: Apache-2.0
"""File names of a source: kept in their folder, found, and made into ids."""

from __future__ import annotations

import errno
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from mmdet_mobilenext.datasets.checks.files import _wrong_id

from .records import ImportDataError, SourceImage
from .report import REPORT_NAME, ImportReport

__all__ = [
    'FILE_ERRORS',
    'IMAGE_SUFFIXES',
    'ImageFolder',
    'give_ids',
    'is_file',
    'read_text',
]

FILE_ERRORS = (FileNotFoundError, IsADirectoryError, PermissionError)
"""What is wrong with one file of a source. Other errors, such as too many open files or a broken
disk, are not its fault: the import stops."""

LONGEST_ID = 255 - len('.jpg')
"""Bytes of an id: file systems take 255 for a name."""

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.gif', '.tif', '.tiff', '.webp', '.jpe', '.mpo')


def is_file(path: Path) -> bool:
    """Whether there is such a file; none has a name that is too long for the file system.

    Args:
        path (Path): The file.

    Example:
        >>> is_file(Path('x' * 300))
        False
    """
    try:
        return path.is_file()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False


def read_text(path: Path) -> str:
    """Read a text file of a source: UTF-8, with a byte order mark or without.

    Args:
        path (Path): The file.

    Returns:
        str: Its text.

    Raises:
        ImportDataError: It is not UTF-8.
        OSError: It cannot be read.
    """
    try:
        return path.read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        wrong = f'byte {error.start + 1} is 0x{error.object[error.start]:02x}'
        raise ImportDataError(f'{path} is not UTF-8 ({wrong}): save it as UTF-8') from error


class ImageFolder:
    """A folder in which images are looked up by name.

    Args:
        root (str | os.PathLike): The folder.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> (root / 'a.jpg').touch()
        >>> ImageFolder(root).find('a.jpg') == (root / 'a.jpg', '')
        True
        >>> ImageFolder(root).find('b.jpg')
        (None, 'a.jpg')
    """

    def __init__(self, root: str | os.PathLike) -> None:
        self.root = Path(root)
        self._by_form: dict[str, Path] | None = None

    def find(self, name: str) -> tuple[Path | None, str]:
        """Find a file.

        Args:
            name (str): A name for which ``checks.values.unsafe_path`` has nothing to say.

        Returns:
            tuple: The file and the other spelling under which it was found, ``''`` if none was
            needed; without a file, None and a name that is there.
        """
        path = self.root / name
        if is_file(path):
            return path, ''
        if self._by_form is None:  # only where it is needed: the folder may be large
            self._by_form = {_form(self.relative(p)): p for p in self.files()}
        found = self._by_form.get(_form(name))
        if found is not None:
            return found, self.relative(found)
        return None, next((self.relative(p) for p in self._by_form.values()), 'no image')

    def relative(self, path: Path) -> str:
        """Name of a file in the folder, with ``/``."""
        return path.relative_to(self.root).as_posix()

    def files(self, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> list[Path]:
        """All files with one of the suffixes, in order, of folders below too.

        Left out are hidden folders, results of imports, and links to folders already seen.
        """
        found, seen = [], {os.path.realpath(self.root)}
        for folder, below, names in os.walk(self.root, followlinks=True):
            found += [
                Path(folder, name)
                for name in names
                if name.lower().endswith(tuple(suffixes)) and not name.startswith('.')
            ]
            inner = []
            for name in sorted(below):
                real = os.path.realpath(os.path.join(folder, name))
                imported = os.path.isfile(os.path.join(real, REPORT_NAME))
                if not name.startswith('.') and not imported and real not in seen:
                    seen.add(real)
                    inner.append(name)
            below[:] = inner
        return sorted(path for path in found if path.is_file())


def _form(name: str) -> str:
    """What two spellings of a name have in common."""
    path = PurePosixPath(name.replace('\\', '/'))
    return unicodedata.normalize('NFC', str(path))


def give_ids(images: Sequence[SourceImage], report: ImportReport) -> None:
    """Give each image its id: the file's name without extension, where that is unique and legal.

    Args:
        images (Sequence[:obj:`SourceImage`]): Changed in place.
        report (ImportReport): Gets the images whose name changes.

    Example:
        >>> names = ('a/1.jpg', 'b/1.png', 'c.jpg')
        >>> images = [SourceImage(n, Path('x'), Path('x', n), None, []) for n in names]
        >>> give_ids(images, ImportReport())
        >>> [image.img_id for image in images]
        ['a_1', 'b_1', 'c']
    """
    for candidate in (_stem, _joined, _with_folder):
        open_ones = [image for image in images if not image.img_id]
        taken = {_key(image.img_id) for image in images if image.img_id}
        keys = [_key(candidate(image)) for image in open_ones]
        times = Counter(keys)
        for image, key in zip(open_ones, keys, strict=True):
            if times[key] == 1 and key not in taken:
                image.img_id = candidate(image)
    taken = {_key(image.img_id) for image in images if image.img_id}
    for image in images:
        number = 2
        while not image.img_id:
            wanted = _cut(_with_folder(image), f'_{number}')
            if _key(wanted) not in taken:
                image.img_id = wanted
                taken.add(_key(wanted))
            number += 1
    for image in images:
        if image.img_id != PurePosixPath(image.name.replace('\\', '/')).stem:
            report.add('image_renamed', image.name, f'now {image.img_id!r}')


def _key(img_id: str) -> str:
    """Ids that some file system takes for the same have the same key."""
    return unicodedata.normalize('NFC', img_id).casefold()


def _stem(image: SourceImage) -> str:
    return _legal(PurePosixPath(image.name.replace('\\', '/')).stem)


def _joined(image: SourceImage) -> str:
    path = PurePosixPath(image.name.replace('\\', '/')).with_suffix('')
    return _legal('_'.join(path.parts))


def _with_folder(image: SourceImage) -> str:
    return _legal(f'{image.folder.resolve().name}_{_joined(image)}')


def _legal(name: str) -> str:
    """The nearest id that the data check admits."""
    name = unicodedata.normalize('NFC', name).strip()
    name = ''.join(c if c.isprintable() else '_' for c in name) or '_'
    if _wrong_id(name):  # '.', a name that ends in '.jpg', or one that looks like a list of VOC
        name = name.replace('.', '_').replace(' ', '_')
    return _cut(name)


def _cut(name: str, end: str = '') -> str:
    """As much of a name as a file system takes, and an end."""
    return name.encode()[: LONGEST_ID - len(end)].decode(errors='ignore').rstrip() + end
