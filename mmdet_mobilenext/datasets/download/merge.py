# SPDX-License-Identifier: Apache-2.0
"""Parts of ``VOC{year}``: are they there, and how they get in place."""

from __future__ import annotations

import filecmp
import os
from pathlib import Path

from .archives import VocArchive
from .errors import VocDownloadError

__all__ = ['is_complete', 'merge', 'missing_files', 'read_list']

_LISTS = Path('ImageSets', 'Main')
_PARTS = (('Annotations', '.xml'), ('JPEGImages', '.jpg'))


def read_list(folder: Path, split: str) -> list[str] | None:
    """Ids of ``ImageSets/Main/{split}.txt``; None if there is no such file."""
    try:
        path = folder / _LISTS / f'{split}.txt'
        text = path.read_text(encoding='utf-8', errors='replace')  # damage shows in the number
    except FileNotFoundError:
        return None
    return text.split()


def missing_files(folder: Path, ids: list[str]) -> list[str]:
    """Files of these ids that are not there or empty, relative to ``folder``."""
    missing = []
    for part, suffix in _PARTS:
        there = set()
        if (folder / part).is_dir():
            with os.scandir(folder / part) as entries:
                there = {e.name for e in entries if e.is_file() and e.stat().st_size}
        missing += [f'{part}/{i}{suffix}' for i in ids if f'{i}{suffix}' not in there]
    return missing


def is_complete(folder: Path, archive: VocArchive) -> bool:
    """Whether the list of the archive's split is there, with all images and annotations.

    Args:
        folder (Path): ``VOCdevkit/VOC{year}``.
        archive (VocArchive): Archive.

    Returns:
        bool: Whether nothing of the split is missing.

    Raises:
        VocDownloadError: If the list is another one than the archive's.
    """
    ids = read_list(folder, archive.split)
    if ids is None:
        return False
    if len(ids) != archive.num_images:
        raise VocDownloadError(
            f'{folder / _LISTS / archive.split}.txt names {len(ids):,} images, that of '
            f'{archive.title} {archive.num_images:,}: it is another set or was cut off. Choose '
            'another --dest, or remove this file to have the set completed'
        )
    return not missing_files(folder, ids)


def merge(source: Path, folder: Path, archive: VocArchive) -> list[str]:
    """Move what an archive holds into ``VOC{year}``: in one step if nothing is there.

    Otherwise file by file, its lists in the end: a kill in between leaves no list of the split, so
    that nothing takes the set for whole. Files that are there and equal are left alone, those that
    were cut off are replaced.

    Args:
        source (Path): The unpacked ``VOC{year}``, on the same file system.
        folder (Path): ``VOCdevkit/VOC{year}``, where it belongs; may be there or not.
        archive (VocArchive): Archive.

    Returns:
        list[str]: Files of no use to detection that are there with other contents; they stay.

    Raises:
        VocDownloadError: If the archive lacks a list or a file, or if a file in place, which the
            split needs, has other contents. Nothing was moved then.
    """
    _check_unpacked(source, archive)
    if not folder.exists():
        os.replace(source, folder)
        return []
    last = [_LISTS / f'{name}.txt' for name in (*archive.lists, archive.split)]
    # position in `last`, counted from its end, so that the list of the split is the last of all
    rank = {path: i for i, path in enumerate(last, start=2)}
    files = [p.relative_to(source) for p in source.rglob('*') if p.is_symlink() or p.is_file()]
    files.sort(key=lambda path: (rank.get(path, path.parent == _LISTS), path))
    moves, differing, kept = [], [], []
    for path in files:
        if not os.path.lexists(folder / path) or _is_cut_off(folder / path, source / path):
            moves.append(path)
        elif not filecmp.cmp(folder / path, source / path, shallow=False):
            needed = path.parent in (_LISTS, Path('Annotations'), Path('JPEGImages'))
            (differing if needed else kept).append(path.as_posix())
    if differing:
        raise VocDownloadError(
            f'{folder} has {len(differing):,} files that differ from those of {archive.name}: '
            f'{_some(differing)}. They may be your own: nothing was changed. Move them away, or '
            'choose another --dest'
        )
    for parent in sorted({path.parent for path in moves}):
        (folder / parent).mkdir(parents=True, exist_ok=True)
    for path in moves:
        os.replace(source / path, folder / path)
    return kept


def _check_unpacked(source: Path, archive: VocArchive) -> None:
    lists = {name: read_list(source, name) for name in archive.lists}
    lacking = [f'{_LISTS.as_posix()}/{name}.txt' for name, ids in lists.items() if ids is None]
    ids = lists[archive.split]
    if not lacking:
        lacking = missing_files(source, ids)
    if lacking or len(ids) != archive.num_images:
        raise VocDownloadError(
            f'{archive.name} is not as expected: it lacks {_some(lacking)}'
            if lacking
            else f'{archive.name} names {len(ids):,} images, not {archive.num_images:,}'
        )


def _is_cut_off(there: Path, whole: Path) -> bool:
    """Whether a file is only the beginning of another, as an interrupted copy leaves it."""
    if not there.is_file() or there.stat().st_size >= whole.stat().st_size:
        return False
    return whole.read_bytes().startswith(there.read_bytes())


def _some(names: list[str]) -> str:
    more = f' and {len(names) - 3:,} more' if len(names) > 3 else ''
    return ', '.join(names[:3]) + more
