# SPDX-License-Identifier: Apache-2.0
"""Check the json file, the folder and the listed images of a COCO-format data set."""

from __future__ import annotations

import json
import os
import os.path as osp
import re
from collections.abc import Sequence

from .coco_json import CocoJSONError, parse_coco
from .coco_source import CocoSource
from .files import names_in
from .report import CheckReport
from .wording import list_some, show

__all__ = [
    'check_coco_places',
    'check_image_files',
    'common_images',
    'read_coco_ends',
    'read_coco_json',
]

_HEAD_BYTES = 2**22
_TAIL_BYTES = 2**20


def check_coco_places(source: CocoSource, report: CheckReport) -> bool:
    """Check that json file and image folder exist; return whether reading on makes sense."""
    before = len(report.problems)
    root = source.data_root
    has_file = osp.isfile(source.ann_file)
    has_folder = source.img_dir is not None and osp.isdir(source.img_dir or '.')
    if root and not osp.isdir(root) and not (has_file and has_folder):
        report.add('no_data_root', root, f'no such folder (looked in {os.getcwd()})')
        return False
    if not has_file:
        places = (osp.dirname(source.ann_file) or '.', root or '.')
        folder = next((place for place in places if osp.isdir(place)), places[0])
        files = list_some([n for n in names_in(folder) if n.endswith('.json')])
        folders = list_some(names_in(folder, folders=True))
        detail = f'no such file; {folder} has json files: {files}; folders: {folders}'
        report.add('no_ann_file', source.ann_file or "''", detail)
    if source.img_dir is None:
        report.add('no_folder', source.title, '`data_prefix` has no `img`')
    elif not has_folder:
        folder = osp.dirname(osp.normpath(source.img_dir)) or '.'
        folders = list_some(names_in(folder, folders=True))
        report.add('no_folder', source.img_dir, f'no such folder; {folder} has: {folders}')
    return len(report.problems) == before


def read_coco_json(source: CocoSource, report: CheckReport) -> dict[str, list] | None:
    """Read the json file as ``pycocotools`` does; None if it is none."""
    path = source.ann_file
    # Published lists of test images have none.
    optional = () if 'train' in source.role.split('+') else ('annotations',)
    try:
        with open(path, encoding='utf-8') as file:
            return parse_coco(file.read(), path, optional)
    except OSError as error:
        report.add('unreadable', path, str(error))
    except UnicodeDecodeError as error:
        report.add('bad_json', path, f'not UTF-8 text: {error}')
    except CocoJSONError as error:
        report.add('bad_json', path, str(error).removeprefix(f'{path} '))
    return None


def read_coco_ends(path: str, report: CheckReport) -> tuple[list[str], list | None]:
    """Read the two ends of a json file that is too large to be parsed before a run.

    Returns:
        tuple: Names of the images in the first 4 MB; and the categories, None if they do not stand
        in the last MB.
    """
    try:
        with open(path, 'rb') as file:
            head = file.read(_HEAD_BYTES).decode('utf-8', 'replace')
            file.seek(max(0, osp.getsize(path) - _TAIL_BYTES))
            tail = file.read().decode('utf-8', 'replace').rstrip()
    except OSError as error:
        report.add('unreadable', path, str(error))
        return [], None
    if not head.lstrip().startswith('{'):
        report.add('bad_json', path, f"starts with {show(head.lstrip()[:40])}, not with '{{'")
    if not tail.endswith('}'):
        report.add('bad_json', path, f"ends with {show(tail[-40:])}, not with '}}': cut off?")
    names = []
    for text in re.findall(r'"file_name"\s*:\s*("(?:[^"\\]|\\.)*")', head):
        try:
            names.append(json.loads(text))
        except ValueError:  # a wrong escape, which the run itself will find
            continue
    found = list(re.finditer(r'"categories"\s*:\s*', tail))
    try:
        categories = json.JSONDecoder().raw_decode(tail, found[-1].end())[0] if found else None
    except ValueError:
        categories = None
    return names, categories if isinstance(categories, list) else None


def check_image_files(source: CocoSource, report: CheckReport) -> set[str]:
    """Check that each image of ``report.ids`` exists, by lists of folders; return those."""
    by_folder: dict[str, list[str]] = {}
    for name in report.ids:
        by_folder.setdefault(osp.dirname(name), []).append(name)
    passed: set[str] = set()
    missing: list[tuple[str, str]] = []
    for sub, names in by_folder.items():
        folder = source.image(sub) or '.'
        try:
            with os.scandir(folder) as entries:
                # Of a link alone this asks for more than the list of the folder holds.
                there = {entry.name for entry in entries if entry.is_file()}
        except (FileNotFoundError, NotADirectoryError):
            there = set()
        except OSError as error:
            report.add('unreadable', folder, str(error))
            continue
        by_stem: dict[str, list[str]] = {}
        for name in names:
            base = osp.basename(name)
            # The second look is for file systems that do not tell upper from lower case.
            if base in there or osp.isfile(source.image(name)):
                passed.add(name)
                continue
            if not by_stem:
                for other in there:
                    by_stem.setdefault(osp.splitext(other)[0], []).append(other)
            beside = list_some(by_stem.get(osp.splitext(base)[0], []))
            missing.append((name, '' if beside == 'none' else f' (there is {beside})'))
    if missing and not passed:
        example = list_some(names_in(source.img_dir or '.')[:1])
        detail = (
            f'none of {len(missing)} images of {source.ann_file} is there, such as '
            f'{show(missing[0][0])}; a file that is there: {example}'
        )
        report.add('missing_image', source.img_dir or '.', detail)
        return passed
    for name, beside in missing:
        detail = f'no such file{beside}, listed in {source.ann_file}'
        report.add('missing_image', source.image(name), detail)
    return passed


def common_images(
    first: CocoSource, names: Sequence[str], second: CocoSource, others: Sequence[str]
) -> list[str]:
    """Names of the images that two data sets share.

    That is the same file, or in two folders files of the same name and the same number of bytes:
    many a set counts its images from 1 in each folder.
    """
    by_path = {osp.abspath(second.image(name)) for name in others}
    by_name = set(others)
    common = []
    for name in names:
        path = first.image(name)
        same = osp.abspath(path) in by_path
        if not same and name in by_name:
            try:
                same = osp.getsize(path) == osp.getsize(second.image(name))
            except OSError:  # missing, which is reported as such
                same = False
        if same:
            common.append(name)
    return sorted(common)
