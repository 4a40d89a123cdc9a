# SPDX-License-Identifier: Apache-2.0
"""Read Ultralytics' ``data.yaml``: class names, and the images of each split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from mmdet_mobilenext.datasets.checks.values import unsafe_path

from .paths import ImageFolder, is_file, read_text
from .records import ImportDataError, clean_class_name
from .report import ImportReport

__all__ = ['YoloLayout', 'load_yaml', 'read_layout', 'read_names']

_SPLITS = ('train', 'val', 'test')


@dataclass
class YoloLayout:
    """Where a YOLO set has what.

    Attributes:
        folder (ImageFolder): Folder that holds all images.
        names (dict[int, str]): Class number to name.
        splits (dict[str, list[Path]]): Images of each split, ``''`` for a source without splits.
        labels (Path, optional): Folder of the labels; None if it follows from the images'.
        lists (set[Path]): Text files that are lists of images.
    """

    folder: ImageFolder
    names: dict[int, str]
    splits: dict[str, list[Path]]
    labels: Path | None = None
    lists: set[Path] = field(default_factory=set)


def load_yaml(path: Path) -> dict:
    """Read a yaml file that holds a mapping, without running what it says.

    Args:
        path (Path): The file.

    Returns:
        dict: Its content.

    Raises:
        ImportDataError: It is no yaml, no UTF-8 or no mapping.
        FileNotFoundError: It does not exist.
    """
    text = read_text(path)
    try:
        content = yaml.safe_load(text)
    # PyYAML lets through what Python says to a date that is none, and to a very deep nesting.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ImportDataError(f'{path} is not YAML: {error}') from error
    if not isinstance(content, dict):
        raise ImportDataError(f'{path} is no data.yaml: it holds a {type(content).__name__}')
    return content


def read_names(content: Mapping, path: Path, report: ImportReport) -> dict[int, str]:
    """Read ``names`` of a data.yaml, a list or a mapping.

    Args:
        content (Mapping): Content of the file.
        path (Path): The file, for messages.
        report (ImportReport): Gets changed names.

    Returns:
        dict[int, str]: Class number to name, in order.

    Raises:
        ImportDataError: There are no names, or not as many as ``nc`` says.
    """
    names = content.get('names')
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise ImportDataError(f'{path} has no names of classes (`names`), got {names!r}')
    if content.get('nc') not in (None, len(names)):
        raise ImportDataError(
            f'{path} contradicts itself: `nc: {content["nc"]}`, but {len(names)} `names`. Which '
            'classes do the labels have? Mend the one that is wrong'
        )
    try:
        numbers = [int(str(key)) for key in names]
    except ValueError as error:
        raise ImportDataError(f'{path}: keys of `names` must be whole numbers: {error}') from error
    if len(set(numbers)) < len(numbers):
        raise ImportDataError(f'{path}: keys of `names` must be there once, got {list(names)}')
    names = dict(zip(numbers, names.values(), strict=True))
    names = {key: clean_class_name(names[key], str(path), report) for key in sorted(names)}
    for name in dict.fromkeys(names.values()):
        numbers = [key for key, value in names.items() if value == name]
        if len(numbers) > 1:
            report.add('class_merged', name, f'numbers {numbers} in {path.name}')
    if list(names) != list(range(len(names))):
        report.add('category_ids', path.name, f'{list(names)}, with gaps')
    return names


def read_layout(path: Path, folder: ImageFolder | None, report: ImportReport) -> YoloLayout:
    """Read a data.yaml and list its images.

    Args:
        path (Path): The file.
        folder (:obj:`ImageFolder`, optional): Folder that its paths start from, in place of what
            the file says.
        report (ImportReport): Gets images that are left out.

    Returns:
        YoloLayout: Names and images.

    Raises:
        ImportDataError: Something is missing, or a folder lies outside.
        FileNotFoundError: The file does not exist.
    """
    content = load_yaml(path)
    names = read_names(content, path, report)
    if folder is None:
        folder = ImageFolder(_root(content.get('path'), path))
    layout = YoloLayout(folder, names, {})
    for split in _SPLITS:
        entries = content.get(split)
        if entries is None or entries == '':
            continue
        found: list[Path] = []
        for entry in entries if isinstance(entries, list) else [entries]:
            found += _images(entry, split, layout, path, report)
        layout.splits[split] = list(dict.fromkeys(found))
    if not layout.splits:
        raise ImportDataError(f'{path} names no images: it has none of {_SPLITS}')
    return layout


def _root(entry: object, path: Path) -> Path:
    if entry in (None, '', '.'):
        return path.parent
    wrong = unsafe_path(entry)
    if wrong:
        raise ImportDataError(
            f'{path}: `path: {entry}` {wrong}. Paths of a data.yaml are followed only in its own '
            'folder; give the folder of the data set yourself: --images DIR'
        )
    if not (path.parent / entry).is_dir():
        raise ImportDataError(f'{path}: no folder {path.parent / entry}; give --images DIR')
    return path.parent / entry


def _images(
    entry: object, split: str, layout: YoloLayout, path: Path, report: ImportReport
) -> list[Path]:
    """Images of one entry: a folder, or a list of files."""
    root = layout.folder.root
    place = str(entry)
    if place.startswith('../') and not unsafe_path(place[3:]) and (root / place[3:]).exists():
        # Exported so by Roboflow, and taken so by Ultralytics.
        report.add('path_read_as', f'{path.name}, {split}: {place}', place[3:])
        place = place[3:]
    wrong = unsafe_path(place)
    if wrong:
        raise ImportDataError(
            f'{path}: `{split}: {entry}` {wrong}. Paths of a data.yaml are followed only in '
            f'{root}; move the images there and name them by a path in it'
        )
    target = root / place
    if target.is_dir():
        files = ImageFolder(target).files()
        if not files:
            raise ImportDataError(f'{path}: no images in {target} (`{split}: {entry}`)')
        return files
    if not is_file(target):
        raise ImportDataError(
            f'{path}: `{split}: {entry}` is neither a folder nor a list of files in {root}'
        )
    layout.lists.add(target)
    return _listed(target, split, layout, report)


def _listed(target: Path, split: str, layout: YoloLayout, report: ImportReport) -> list[Path]:
    """Images that a text file lists, one a line."""
    found: list[Path] = []
    for number, line in enumerate(read_text(target).splitlines(), 1):
        name = line.strip()
        if not name:
            continue
        where = f'{target.name}, line {number}'
        wrong = unsafe_path(name)
        if wrong:
            report.saw(images=1)
            report.add('image_name_unsafe', where, f'{name!r} {wrong}', images=1)
            continue
        # Ultralytics: './' is the folder of the list, other names start at the data set's.
        parent = target.parent.relative_to(layout.folder.root)
        name = (parent / name[2:]).as_posix() if name.startswith('./') else name
        image, other = layout.folder.find(name)
        if image is None:
            report.saw(images=1)
            detail = f'not in {layout.folder.root}, which has for example {other}'
            report.add('image_missing', f'{where}: {name}', detail, images=1)
            continue
        if image != layout.folder.root / name:
            report.add('image_found_by_name', name, layout.folder.relative(image))
        if image in found:
            report.saw(images=1)
            report.add('image_listed_again', f'{where}: {name}', f'in {split}', images=1)
        else:
            found.append(image)
    return found
