# SPDX-License-Identifier: Apache-2.0
"""Unpack archives that may be anything: every member is checked before the first is written."""

from __future__ import annotations

import errno
import lzma
import os
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NoReturn

from .errors import ArchiveError

__all__ = ['unpack']

MAX_MEMBERS = 200_000  # VOC2012 has 45,000
MAX_RATIO = 100  # unpacked bytes for each of the archive; JPEG gives 1, XML about 20
SMALL = 1 << 24  # bytes that are let through whatever the ratio is
MAX_HEADER = 1 << 20  # bytes of an extended header, which tarfile reads into memory

# what the readers of the standard library raise at bytes that make no sense
_DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError),
    *(ValueError, OverflowError, RuntimeError),
)
_BAD_BYTES = (None, errno.EINVAL, errno.ENAMETOOLONG)  # None: gzip and bz2, which know no number


def unpack(archive: str | Path, dest: str | Path) -> None:
    """Unpack a tar archive (also compressed) or a zip archive.

    Refused before anything is written: paths that are absolute, have ``..`` or mean something
    else on Windows; links that lead out, lie in the way of another member or are in a zip
    archive; devices, pipes and sparse files; encrypted members; names that are there twice; and
    archives of very many members or of far more bytes than they have themselves. Files get mode
    0644 and folders 0755, and the owner who unpacks.

    Args:
        archive (str | Path): Archive; what it is is told by its bytes.
        dest (str | Path): Folder to unpack to; made if it is not there. Should be empty: what it
            has is not looked at.

    Raises:
        ArchiveError: If the archive is damaged, no tar or zip, or has a member as above. The
            message names both.
        OSError: If ``dest`` cannot be written; it names a file or folder.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with zipfile.ZipFile(folder / 'a.zip', 'w') as file:
        ...     file.writestr('texts/one.txt', 'one')
        >>> unpack(folder / 'a.zip', folder / 'a')
        >>> (folder / 'a/texts/one.txt').read_text()
        'one'
    """
    archive, dest = Path(archive), Path(dest)
    try:
        try:
            tar = tarfile.open(archive, tarinfo=_GuardedInfo)
        except tarfile.ReadError:
            if not zipfile.is_zipfile(archive):
                raise ArchiveError(f'{archive} is neither a tar nor a zip archive') from None
            with zipfile.ZipFile(archive) as file:
                _check_zip(file.infolist(), _Guard(archive))
                dest.mkdir(parents=True, exist_ok=True)
                file.extractall(dest)
            return
        with tar:
            members = _check_tar(tar, _Guard(archive))
            dest.mkdir(parents=True, exist_ok=True)
            # a second net, where this Python has it
            options = {'filter': 'data'} if hasattr(tarfile, 'data_filter') else {}
            tar.extractall(dest, members, **options)
    except ArchiveError:
        raise
    except _HeaderTooLargeError as error:
        raise ArchiveError(f'{archive}: {error}') from None
    except NotImplementedError as error:
        raise ArchiveError(f'{archive} cannot be read here: {error}') from error
    except (*_DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _BAD_BYTES:
            if error.filename is None:  # of writing, as on a full disk
                why = f'{error.strerror} while {archive} was unpacked'
                raise OSError(error.errno, why, str(dest)) from error
            raise
        raise ArchiveError(
            f'{archive} is damaged ({type(error).__name__}: {error}): fetch it again'
        ) from error


class _HeaderTooLargeError(Exception):
    """An extended header of a tar archive would fill the memory."""


class _GuardedInfo(tarfile.TarInfo):
    """Refuse damaged headers, at which tarfile would end, and long ones before they are read."""

    @classmethod
    def frombuf(cls, buf, encoding, errors):
        try:
            info = super().frombuf(buf, encoding, errors)
        except tarfile.InvalidHeaderError as error:
            raise tarfile.ReadError(f'a header of a member: {error}') from error
        special = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
        if (
            info.type in (*special, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
            and info.size > MAX_HEADER
        ):
            raise _HeaderTooLargeError(
                f'a header of {info.size:,} bytes, more than the {MAX_HEADER:,} allowed'
            )
        return info


class _Guard:
    """Checks of members that tar and zip share; keeps count."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        self.size = archive.stat().st_size
        self.max_bytes = max(SMALL, MAX_RATIO * self.size)
        self.bytes = 0
        self.folders: set[str] = set()
        self.others: dict[str, str] = {}  # key of a path -> name
        self.behind: list[tuple[str, PurePosixPath]] = []  # member, and path it relies on

    def refuse(self, name: str, why: str) -> NoReturn:
        raise ArchiveError(f'{self.archive}: member {name!r} {why}; nothing was unpacked')

    def add(self, name: str, size: int, is_dir: bool) -> PurePosixPath:
        """Check path and size of a member; its path is returned."""
        path, windows = PurePosixPath(name), PureWindowsPath(name)
        if '\0' in name or not (path.parts or (is_dir and name)):
            self.refuse(name, 'has no proper name')
        if path.is_absolute() or windows.drive or windows.root or '\\' in name:
            self.refuse(name, 'has an absolute path, or one with a drive or a backslash')
        if '..' in path.parts:
            self.refuse(name, 'leads out of its folder with ".."')
        if size < 0:
            self.refuse(name, f'has a size of {size:,} bytes')
        key = _key(path)
        if key in self.others or (key in self.folders and not is_dir):
            self.refuse(name, 'is there twice, or differs from another in case only')
        if is_dir:
            self.folders.add(key)
        else:
            self.others[key] = name
        self.behind.append((name, path))
        if len(self.behind) > MAX_MEMBERS:
            self.refuse(name, f'is one more than the {MAX_MEMBERS:,} allowed')
        self.bytes += size
        if self.bytes > self.max_bytes:
            self.refuse(
                name,
                f'makes {self.bytes:,} bytes of an archive of {self.size:,}; at most '
                f'{self.max_bytes:,} are allowed',
            )
        return path

    def add_link(self, name: str, target: str, folder: PurePosixPath) -> str:
        """Check where a link leads from ``folder``; the key of that path is returned."""
        to, windows = PurePosixPath(target), PureWindowsPath(target)
        inside = not (to.is_absolute() or windows.drive or windows.root or '\\' in target)
        parts = list(folder.parts)
        for i, part in enumerate(to.parts if inside else ()):
            if part != '..':
                parts.append(part)
            # a name before ".." might be a link too: where that leads, depends on it
            elif not parts or any(before != '..' for before in to.parts[:i]):
                inside = False
                break
            else:
                parts.pop()
        if not inside or not target:
            self.refuse(name, f'is a link out of the archive, to {target!r}')
        self.behind.append((name, PurePosixPath(*parts)))
        return _key(PurePosixPath(*parts))

    def finish(self) -> None:
        """Refuse members, and targets of links, that lie behind a link or a file."""
        for name, path in self.behind:
            for parent in path.parents:
                if _key(parent) in self.others:
                    other = self.others[_key(parent)]
                    self.refuse(name, f'would be reached through {other!r}, which is no folder')


def _key(path: PurePosixPath) -> str:
    """Equal for paths that some file system takes for one."""
    return unicodedata.normalize('NFC', str(path)).casefold()


def _check_tar(tar: tarfile.TarFile, guard: _Guard) -> list[tarfile.TarInfo]:
    members = []
    for member in tar:  # its size is checked before its bytes are passed over
        name = member.name
        path = guard.add(name, member.size if member.isreg() else 0, member.isdir())
        if member.issym():
            guard.add_link(name, member.linkname, path.parent)
        elif member.islnk():  # its target is named from the top of the archive
            to = guard.add_link(name, member.linkname, PurePosixPath())
            if to not in guard.others or to == _key(path):
                guard.refuse(name, f'is a link to {member.linkname!r}, which is not before it')
        elif member.issparse() or not (member.isreg() or member.isdir()):
            guard.refuse(name, 'is a device, a pipe or a sparse file')
        member.mode = 0o755 if member.isdir() else 0o644
        member.uname = member.gname = ''
        if hasattr(os, 'getuid'):
            member.uid, member.gid = os.getuid(), os.getgid()
        members.append(member)
    guard.finish()
    return members


def _check_zip(members: list[zipfile.ZipInfo], guard: _Guard) -> None:
    for member in members:
        name = member.orig_filename  # zipfile cuts and mends the other one
        guard.add(name, member.file_size, member.is_dir())
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            guard.refuse(name, 'is a link or a device')
        if member.flag_bits & 1:
            guard.refuse(name, 'is encrypted')
    guard.finish()
