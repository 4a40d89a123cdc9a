# SPDX-License-Identifier: Apache-2.0
"""Put PASCAL VOC in place, from its servers or from archives that are there."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pooch
from filelock import FileLock, Timeout

from mmdet_mobilenext.fetching import FetchError, fetch_file
from mmdet_mobilenext.work_folder import work_folder

from .archives import VOC_ARCHIVES, VocArchive
from .errors import VocDownloadError
from .merge import is_complete, merge
from .unpack import unpack

__all__ = ['download_voc']

FETCHED = '.download_voc'
"""Folder in ``dest`` of what this module fetched, and may therefore delete."""

BLOCKS = 1.05
"""Disk space of the files for each byte of an archive: a file fills whole blocks of 4 KiB."""


def download_voc(
    years: Sequence[int] = (2007, 2012),
    dest: str | Path = 'data',
    archives: Sequence[str | Path] = (),
    *,
    keep_archives: bool = False,
    progress: bool = True,
    say: Callable[[str], None] = print,
) -> Path:
    """Fetch what is missing of VOC, verify it, unpack it and put it in place.

    What is there already, from an earlier call or unpacked by hand, stays as it is; if it is
    complete, nothing is asked of any server. A call that was killed is made good by the next.
    Of two calls for the same folder the second waits.

    Args:
        years (Sequence[int]): Of 2007 (trainval and test) and 2012 (trainval). Defaults to both.
        dest (str | Path): Folder in which ``VOCdevkit/VOC2007`` and ``VOC2012`` will be.
            Defaults to ``'data'``.
        archives (Sequence[str | Path]): Archives that are there, under any name: they are known
            by their MD5, and never changed or deleted. Those that lie in ``dest`` under the
            published name need not be given. Defaults to none.
        keep_archives (bool): Keep fetched archives, in ``dest``. Defaults to False.
        progress (bool): Show bars on stderr. Defaults to True.
        say (Callable): Called with a line at each step. Defaults to :func:`print`.

    Returns:
        Path: ``{dest}/VOCdevkit``, for ``data_root`` of the configs.

    Raises:
        VocDownloadError: If a year or an archive is unknown, an archive cannot be fetched (the
            message tells what to fetch by hand), the disk has too little space, or something
            else is in place.
        ArchiveError: If an archive cannot be unpacked.
        FileNotFoundError: If an archive is not there.
        OSError: If ``dest`` cannot be written.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / 'mine.tar').write_bytes(b'no archive of VOC')
        >>> download_voc([2007], folder, [folder / 'mine.tar'])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        mmdet_mobilenext.datasets.download.errors.VocDownloadError: ...mine.tar has the MD5 ...
    """
    dest = Path(dest)
    known = sorted({archive.year for archive in VOC_ARCHIVES})
    if not years or not set(years) <= set(known):
        raise VocDownloadError(f'years must be among {known}, not {list(years)}')
    wanted = [archive for archive in VOC_ARCHIVES if archive.year in years]
    own = _recognise(archives, wanted)
    devkit = dest / 'VOCdevkit'
    todo = _what_is_missing(wanted, devkit, say)
    if todo:
        dest.mkdir(parents=True, exist_ok=True)
        with _only_one(dest / f'{FETCHED}.lock', say):
            # another call may have been at it until now
            todo = _what_is_missing(todo, devkit, lambda line: None)
            own = _find_in(dest, todo, own)
            _check_space(todo, own, dest, keep_archives)
            for i, archive in enumerate(todo):
                path = own.get(archive.md5) or _fetch(archive, todo[i:], own, dest, progress, say)
                _put_in_place(archive, path, devkit, say)
                if archive.md5 not in own:
                    if keep_archives:
                        os.replace(path, dest / archive.name)
                    else:
                        path.unlink()
            shutil.rmtree(dest / FETCHED, ignore_errors=True)
    for archive in wanted:
        if archive not in todo and archive.md5 in own:
            say(f'{own[archive.md5]} was not needed')
    say(f'\nThe data is in {devkit.resolve()}. To look into every file of it:')
    for year in sorted(set(years)):
        splits = [archive.split for archive in wanted if archive.year == year]
        root = shlex.quote(str(devkit / f'VOC{year}'))
        say(f'  python tools/check_voc.py --data-root {root} --split {" ".join(splits)}')
    say(
        'The configs look for data/VOCdevkit in the folder they are run from; for another place: '
        f'export VOC_DATA_ROOT={shlex.quote(str(devkit.resolve()))}'
    )
    return devkit


@contextmanager
def _only_one(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f'another process is at it ({path}): waiting for it to end')
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _recognise(paths: Sequence[str | Path], wanted: list[VocArchive]) -> dict[str, Path]:
    """Archives of the user by their MD5."""
    by_md5 = {archive.md5: archive for archive in VOC_ARCHIVES}
    own = {}
    for path in map(Path, paths):
        if not path.is_file():
            raise FileNotFoundError(f'--archive: {path} is no file')
        md5 = pooch.file_hash(path, 'md5')
        if md5 not in by_md5:
            lines = [f'  {a.md5}  {a.name} ({a.title}, {a.size:,} bytes)' for a in VOC_ARCHIVES]
            raise VocDownloadError(
                f'{path} has the MD5 {md5} ({path.stat().st_size:,} bytes): it is damaged or '
                'another file. These are known:\n' + '\n'.join(lines)
            )
        if by_md5[md5] not in wanted:
            raise VocDownloadError(
                f'{path} is {by_md5[md5].title}, but --years has only '
                f'{sorted({archive.year for archive in wanted})}: add the year or leave it out'
            )
        own.setdefault(md5, path)
    return own


def _what_is_missing(
    wanted: list[VocArchive], devkit: Path, say: Callable[[str], None]
) -> list[VocArchive]:
    todo = [a for a in wanted if not is_complete(devkit / a.folder, a)]
    for archive in wanted:
        if archive not in todo:
            say(f'{archive.title}: all {archive.num_images:,} images are there')
    return todo


def _find_in(dest: Path, todo: list[VocArchive], own: dict[str, Path]) -> dict[str, Path]:
    """Add archives that lie in ``dest`` under their name: kept ones, or fetched by hand."""
    found = dict(own)
    for archive in todo:
        path = dest / archive.name
        if archive.md5 not in own and path.exists():
            md5 = pooch.file_hash(path, 'md5')
            if md5 != archive.md5:
                raise VocDownloadError(
                    f'{path} has the MD5 {md5}, not {archive.md5} ({path.stat().st_size:,} of '
                    f'{archive.size:,} bytes): fetch the rest of it, or remove it'
                )
            found[archive.md5] = path
    return found


def _check_space(
    todo: list[VocArchive], own: dict[str, Path], dest: Path, keep_archives: bool
) -> None:
    """The most that is needed at once: one archive after the other is fetched and unpacked."""
    used = most = 0
    for archive in todo:
        fetched = 0 if archive.md5 in own else archive.size
        most = max(most, used + fetched + BLOCKS * archive.size)
        used += BLOCKS * archive.size + (fetched if keep_archives else 0)
    # what an earlier call fetched has its space already
    most -= sum(p.stat().st_size for p in (dest / FETCHED).glob('*') if p.is_file())
    devkit = dest / 'VOCdevkit'
    place = devkit.resolve()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if most > free:
        raise VocDownloadError(
            f'{devkit} needs {most / 1e9:.1f} GB of disk space for '
            f'{", ".join(a.title for a in todo)}, but {place} has {free / 1e9:.1f} GB: make room '
            'or choose another --dest'
        )


def _fetch(
    archive: VocArchive,
    todo: list[VocArchive],
    own: dict[str, Path],
    dest: Path,
    progress: bool,
    say: Callable[[str], None],
) -> Path:
    say(f'{archive.title}: fetching {archive.name} ({archive.size / 1e6:,.0f} MB)')
    try:
        return fetch_file(
            archive.urls,
            dest / FETCHED / archive.name,
            f'md5:{archive.md5}',
            title=archive.name,
            progress=progress,
        ).path
    except FetchError as error:
        lacking = [a for a in todo if a.md5 not in own]
        lines = []
        for other in lacking:
            lines += [f'  {other.name}  MD5 {other.md5}  {other.size:,} bytes']
            lines += [f'    {url}' for url in other.urls]
        command = ['python', 'tools/download_voc.py', '--years']
        command += [str(year) for year in sorted({a.year for a in todo})]
        command += ['--dest', str(dest), '--archive']
        command += [str(own.get(a.md5, a.name)) for a in todo]
        raise VocDownloadError(
            f'{error}\n\nTo go on by hand, fetch these files from any of their addresses, with '
            'another machine if need be:\n' + '\n'.join(lines) + '\nand then:\n  '
            # what is there may be left out when the files lie in --dest
            f'{shlex.join(command)}\nwith the paths where they are.{_kept(dest / FETCHED)}'
        ) from error


def _kept(fetched: Path) -> str:
    """What the next call need not fetch again, in words."""
    size = sum(path.stat().st_size for path in fetched.glob('.*.part'))
    if not size:
        return ''
    return (
        f' The {size:,} bytes fetched so far are kept in {fetched}: running the same command again '
        'goes on from there'
    )


def _put_in_place(
    archive: VocArchive, path: Path, devkit: Path, say: Callable[[str], None]
) -> None:
    say(f'{archive.title}: unpacking {path}')
    folder = (devkit / archive.folder).resolve()  # a link stays one
    with work_folder(folder) as work:
        unpack(path, work)
        source = work / 'VOCdevkit' / archive.folder
        if not source.is_dir():
            raise VocDownloadError(f'{path} has no folder VOCdevkit/{archive.folder}')
        kept = merge(source, folder, archive)
    for name in kept:
        say(f'{archive.title}: {folder / name} has other contents than in the archive; it stays')
    say(f'{archive.title}: {archive.num_images:,} images in {folder}')
