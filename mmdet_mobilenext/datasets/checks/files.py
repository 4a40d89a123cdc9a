# SPDX-License-Identifier: Apache-2.0
"""Check the folders, the split file and the listed files of a VOC-format data set."""

from __future__ import annotations

import os
import os.path as osp
import re
import stat

from .report import CheckReport
from .sources import VOCSource
from .wording import list_some, show

__all__ = ['check_ids', 'check_listed', 'check_places', 'names_in']


def check_places(source: VOCSource, report: CheckReport) -> bool:
    """Check that root, folders and split file exist; return whether reading on makes sense."""
    before = len(report.problems)
    sub_root = source.sub_data_root or '.'
    if not osp.isdir(sub_root):
        root = source.data_root
        if root and not osp.isdir(root):
            report.add('no_data_root', root, f'no such folder (looked in {os.getcwd()})')
            return False
        folders = list_some(names_in(root or '.', folders=True))
        report.add('no_data_root', sub_root, f'no such folder; {root or "."} has: {folders}')
    else:
        for folder in (source.img_dir, source.ann_dir):
            if not osp.isdir(folder):
                folders = list_some(names_in(sub_root, folders=True))
                report.add('no_folder', folder, f'no such folder; {sub_root} has: {folders}')
    if not osp.isfile(source.ann_file):
        # The place where VOC keeps its lists, if the given folder is not even there.
        places = (osp.dirname(source.ann_file) or '.', osp.join(sub_root, 'ImageSets', 'Main'))
        folder = next((place for place in places if osp.isdir(place)), places[0])
        lists = list_some([n for n in names_in(folder) if n.endswith('.txt')])
        detail = f'no such file; {folder} has: {lists}'
        report.add('no_split_file', source.ann_file or "''", detail)
    return len(report.problems) == before


def names_in(folder: str, folders: bool = False) -> list[str]:
    """Names of the files (or folders) in a folder, for a message."""
    try:
        with os.scandir(folder) as entries:
            return [e.name for e in entries if (e.is_dir() if folders else e.is_file())]
    except OSError:
        return []


def check_ids(source: VOCSource, report: CheckReport) -> tuple[str, ...]:
    """Read the split file the way ``mmengine.fileio.list_from_file`` does and check each line."""
    try:
        with open(source.ann_file, encoding='utf-8') as file:
            lines = file.read().split('\n')
    except UnicodeDecodeError as error:
        report.add('bad_split_file', source.ann_file, f'not UTF-8 text: {error}')
        return ()
    except OSError as error:
        report.add('unreadable', source.ann_file, str(error))
        return ()
    if lines[-1] == '':
        lines.pop()
    if not lines:
        report.add('bad_split_file', source.ann_file, 'the file is empty')
    first_seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        wrong = _wrong_id(line)
        if wrong:
            report.add('bad_id', source.ann_file, f'line {number}: {show(line)} {wrong}')
        elif line in first_seen:
            detail = f'line {number}: {show(line)} is on line {first_seen[line]} too'
            report.add('duplicate_id', source.ann_file, detail)
        else:
            first_seen[line] = number
    return tuple(first_seen)


def _wrong_id(line: str) -> str:
    """Say what is wrong with a line of a split file, ``''`` if nothing is."""
    if not line.strip():
        return 'is blank'
    if line != line.strip():
        return 'has spaces around it'
    if line in ('.', '..') or osp.isabs(line) or osp.splitdrive(line)[0]:
        return 'is a path, not an id'
    if '/' in line or '\\' in line:
        return 'has a path separator, ids must stay in their folder'
    if not line.isprintable():
        return 'has control characters (a byte order mark or a tab?)'
    if re.fullmatch(r'\S+ +(-1|0|1)', line):
        return 'looks like a per-class list (id and flag); use trainval.txt or the like'
    if re.search(r'\.(jpe?g|png|bmp|xml)$', line, re.IGNORECASE):
        return 'has an extension'
    return ''


def check_listed(folder: str, suffix: str, kind: str, report: CheckReport) -> set[str]:
    """Check that each listed file exists and is not empty; return the ids that pass."""
    wanted = {f'{img_id}{suffix}' for img_id in report.ids}
    found, empty, others = set(), set(), {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                size = _file_size(entry) if entry.name in wanted else None
                if size is None:
                    others.setdefault(osp.splitext(entry.name)[0], []).append(entry.name)
                else:
                    (found if size else empty).add(entry.name)
    except OSError as error:
        report.add('unreadable', folder, str(error))
        return set()
    passed = set()
    for img_id in report.ids:
        name = f'{img_id}{suffix}'
        path = osp.join(folder, name)
        # The second look is for file systems that do not tell upper from lower case.
        if name in found or (name not in empty and osp.isfile(path)):
            passed.add(img_id)
        elif name in empty:
            report.add('empty_file', path, 'the file has 0 bytes')
        else:
            beside = ', '.join(sorted(others.get(img_id, ())))
            if name in beside.split(', '):
                beside = 'a folder or a broken link of that name'
            beside = f' (there is {beside})' if beside else ''
            report.add(kind, path, f'no such file{beside}, listed in the split file')
    return passed


def _file_size(entry: os.DirEntry) -> int | None:
    """Size of a regular file in bytes; None for a folder, a broken link and the like."""
    try:
        info = entry.stat()
    except OSError:
        return None
    return info.st_size if stat.S_ISREG(info.st_mode) else None
