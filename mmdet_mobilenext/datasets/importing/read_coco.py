# SPDX-License-Identifier: Apache-2.0
"""Read COCO json files (see the package on why not through a library)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from globox import BoundingBox

from mmdet_mobilenext.datasets.checks.coco_json import CocoJSONError, parse_coco
from mmdet_mobilenext.datasets.checks.values import finite_numbers, is_id, unsafe_path

from .paths import ImageFolder, read_text
from .records import (
    Box,
    ImportDataError,
    SourceImage,
    SourceSet,
    check_chosen,
    clean_class_name,
)
from .report import ImportReport

__all__ = ['read_coco']

_CARRIED = {'id', 'image_id', 'category_id', 'bbox', 'iscrowd', 'ignore', 'area'}


def read_coco(
    files: Sequence[tuple[str, str]],
    folders: Mapping[str, ImageFolder],
    classes: Sequence[str] | None,
    report: ImportReport,
) -> SourceSet:
    """Read one json file for each split.

    Args:
        files (Sequence[tuple[str, str]]): Name of the split (``''``: none) and json file.
        folders (Mapping[str, :obj:`ImageFolder`]): Name of the split to folder of the images;
            ``''`` for those that are not named.
        classes (Sequence[str], optional): Classes to keep, in order. None keeps all in the order
            of their ids.
        report (ImportReport): Gets what is dropped or changed.

    Returns:
        SourceSet: Images and splits.

    Raises:
        ImportDataError: A file is no COCO json.
        FileNotFoundError: A file does not exist.
    """
    found: dict[str, None] = {}
    parts = []
    for split, file in files:
        content = _load(file)
        names = _categories(content['categories'], file, report)
        found.update(dict.fromkeys(names.values()))
        parts.append((split, file, content, names))
    check_chosen(classes, list(found))
    known = SourceSet(tuple(classes) if classes else tuple(found))
    for split, file, content, names in parts:
        folder = folders.get(split) or folders.get('')
        if folder is None:
            raise ImportDataError(f'no image folder for {file}: give --images {split}=DIR')
        known.splits.setdefault(split, {})  # also if none of its images is there
        label = Path(file).name
        images = _images(content['images'], folder, label, report)
        _annotations(content['annotations'], images, names, known.classes, label, report)
        for image in images.values():
            if isinstance(image, SourceImage):
                known.add(split, image, report)
    return known


def _load(file: str) -> dict[str, list]:
    try:
        return parse_coco(read_text(Path(file)), file)
    except CocoJSONError as error:
        raise ImportDataError(str(error)) from error


def _categories(entries: list, file: str, report: ImportReport) -> dict[Any, str]:
    """Category id to class name, in the order of the ids."""
    names: dict[Any, str] = {}
    for entry in entries:
        if not isinstance(entry, dict) or 'id' not in entry or not is_id(entry['id']):
            raise ImportDataError(f'{file} has a category without a usable id: {entry!r}')
        name = clean_class_name(entry.get('name'), file, report)
        if names.setdefault(entry['id'], name) != name:
            raise ImportDataError(
                f'{file} has the category id {entry["id"]!r} twice, as {names[entry["id"]]!r} and '
                f'as {name!r}: which annotations are whose? Give them different ids'
            )
    try:
        names = dict(sorted(names.items()))
    except TypeError:  # texts and numbers: leave the order of the file
        pass
    for name in sorted({n for n in names.values() if list(names.values()).count(n) > 1}):
        ids = [key for key, value in names.items() if value == name]
        report.add('class_merged', name, f'ids {ids} in {Path(file).name}')
    if list(names) != list(range(1, len(names) + 1)):
        label = f'{list(names)}'
        label = label if len(label) < 400 else f'{label[:400]}...'
        report.add('category_ids', Path(file).name, f'{label}, with gaps or not from 1 on')
    return names


def _images(entries: list, folder: ImageFolder, file: str, report: ImportReport) -> dict[Any, Any]:
    """Image id to image; to a list of reason, name and detail if it is left out."""
    images: dict[Any, Any] = {}
    first: dict[Any, dict] = {}
    for number, entry in enumerate(entries, 1):
        report.saw(images=1)
        where = f'{file}, image {number}'
        if not isinstance(entry, dict) or not is_id(entry.get('id')):
            report.add('image_entry_bad', where, f'{entry!r:.200}', images=1)
            continue
        key = entry['id']
        if key in first:
            name = str(entry.get('file_name'))
            if first[key].get('file_name') == entry.get('file_name'):
                report.add('image_listed_again', name, f'id {key!r} twice in {file}', images=1)
            else:
                report.add('image_id_repeated', name, f'id {key!r} in {file}', images=1)
                if isinstance(images[key], SourceImage):
                    other = images[key].name
                    images[key] = ['image_id_repeated', other, f'id {key!r} in {file}']
            continue
        first[key] = entry
        images[key] = _image(entry, folder, where)
        image = images[key]
        if isinstance(image, SourceImage) and folder.root / image.name != image.path:
            report.add('image_found_by_name', image.name, folder.relative(image.path))
    return images


def _image(entry: dict, folder: ImageFolder, where: str) -> Any:
    name = entry.get('file_name')
    wrong = unsafe_path(name)
    if wrong:
        return ['image_name_unsafe', where, f'{name!r} {wrong}']
    path, other = folder.find(name)
    if path is None:
        return ['image_missing', name, f'not in {folder.root}, which has for example {other}']
    size = finite_numbers([entry.get('width'), entry.get('height')], 2)
    if size is not None and (min(size) < 1 or size != tuple(map(int, size))):
        return ['image_entry_bad', where, f'{name}: width and height {size}']
    return SourceImage(name, folder.root, path, size and tuple(map(int, size)), [])


def _annotations(
    entries: list,
    images: dict[Any, Any],
    names: Mapping[Any, str],
    classes: Sequence[str],
    file: str,
    report: ImportReport,
) -> None:
    """Give the boxes to their images; enter those of left out images with these."""
    seen: dict[Any, object] = {}
    chosen = set(classes)
    lost: Counter[Any] = Counter()
    fields: Counter[str] = Counter()
    for number, entry in enumerate(entries, 1):
        report.saw(boxes=1)
        where = f'{file}, annotation {number}'
        if not isinstance(entry, dict):
            report.add('box_entry_bad', where, f'{entry!r:.200}', boxes=1)
            continue
        key, image_id, category = (entry.get(k) for k in ('id', 'image_id', 'category_id'))
        where = f'{where} (id {key!r})'
        if is_id(key):
            if key in seen and seen[key] == entry:
                report.add('annotation_repeated', where, boxes=1)
                continue
            if key in seen:
                report.add('annotation_id_repeated', where)
            seen.setdefault(key, entry)
        image = images.get(image_id) if is_id(image_id) else None
        if image is None:
            report.add('box_no_image', where, f'image_id {image_id!r}', boxes=1)
            continue
        if not isinstance(image, SourceImage):
            lost[image_id] += 1
            continue
        name = names.get(category) if is_id(category) else None
        where = f'{image.name}, {where}'
        ltwh = finite_numbers(entry.get('bbox'), 4)
        if name is None:
            report.add('box_unknown_class', where, f'category_id {category!r}', boxes=1)
        elif name not in chosen:
            report.add('class_not_chosen', where, name, boxes=1)
        elif ltwh is None:
            report.add('box_entry_bad', where, f'bbox {entry.get("bbox")!r:.100}', boxes=1)
        else:
            # some exports write numbers as texts
            flags = [entry.get(key) for key in ('iscrowd', 'ignore')]
            crowd = any(flag and flag != '0' for flag in flags)
            image.boxes.append(Box(name, BoundingBox.ltwh_to_ltrb(ltwh), difficult=crowd))
            fields.update(
                extra for extra in entry.keys() - _CARRIED if entry[extra] not in (None, [], {}, '')
            )
    for extra, times in sorted(fields.items()):
        report.add('field_not_carried', f'{extra}', f'of {times} annotations in {file}')
    for image_id, image in images.items():
        if not isinstance(image, SourceImage):
            reason, where, detail = image
            report.add(reason, where, detail, images=1, boxes=lost[image_id])
