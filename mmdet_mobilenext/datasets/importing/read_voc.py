# SPDX-License-Identifier: Apache-2.0
"""Read folders in the layout of VOC."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmdet_mobilenext.datasets.checks import VOC_CLASSES
from mmdet_mobilenext.datasets.checks.annotations import _DoctypeError, _NoDoctype
from mmdet_mobilenext.datasets.checks.values import finite_numbers, unsafe_path

from .boxes import from_voc
from .paths import FILE_ERRORS, IMAGE_SUFFIXES, ImageFolder, is_file, read_text
from .records import Box, ImportDataError, SourceImage, SourceSet, clean_class_name
from .report import ImportReport

__all__ = ['read_voc']

_SPLITS = ('train', 'val', 'trainval', 'test')
_CARRIED = {'name', 'difficult', 'truncated', 'bndbox'}
_CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')


def read_voc(
    roots: Sequence[str],
    folders: Mapping[str, ImageFolder],
    classes: Sequence[str] | None,
    report: ImportReport,
) -> SourceSet:
    """Read one or more folders such as ``VOCdevkit/VOC2007``.

    Args:
        roots (Sequence[str]): Folders with ``Annotations`` and ``JPEGImages``; splits of the same
            name become one.
        folders (Mapping[str, :obj:`ImageFolder`]): Folder of the images under the key ``''``;
            empty takes ``JPEGImages`` of each root.
        classes (Sequence[str], optional): Classes to keep, in order. None keeps all: in VOC's
            order if they are VOC's, else sorted.
        report (ImportReport): Gets what is dropped or changed.

    Returns:
        SourceSet: Images and splits.

    Raises:
        ImportDataError: A folder has no such layout.
    """
    known = SourceSet(())
    fields: Counter[str] = Counter()
    for root in map(Path, roots):
        if not (root / 'Annotations').is_dir():
            raise ImportDataError(f'{root} has no folder Annotations: give the VOC folder itself')
        folder = folders.get('') or ImageFolder(root / 'JPEGImages')
        made: dict[str, SourceImage | None] = {}
        for split, ids in _splits(root, report).items():
            known.splits.setdefault(split, {})  # also if none of its images is there
            for img_id in ids:
                if img_id not in made:
                    report.saw(images=1)
                    made[img_id] = _read_image(img_id, root, folder, fields, report)
                if made[img_id] is not None:
                    known.add(split, made[img_id], report)
        rest = sorted({path.stem for path in (root / 'Annotations').glob('*.xml')} - set(made))
        for img_id in rest:
            report.add('list_not_read', f'{root / "Annotations" / img_id}.xml', 'in no list')
    for name, times in sorted(fields.items()):
        report.add('field_not_carried', name, f'of {times} objects')
    known.classes = _choose(known, classes, report)
    return known


def _splits(root: Path, report: ImportReport) -> dict[str, list[str]]:
    main = root / 'ImageSets' / 'Main'
    lists = {name: main / f'{name}.txt' for name in _SPLITS if (main / f'{name}.txt').is_file()}
    if not lists:
        return {'': sorted(path.stem for path in (root / 'Annotations').glob('*.xml'))}
    for path in sorted(set(main.glob('*.txt')) - set(lists.values())):
        report.add('list_not_read', str(path), f'splits are {", ".join(_SPLITS)}')
    splits = {}
    for name, path in lists.items():
        lines = [line.strip() for line in read_text(path).splitlines()]
        splits[name] = list(dict.fromkeys(filter(None, lines)))
    return splits


def _read_image(
    img_id: str, root: Path, folder: ImageFolder, fields: Counter[str], report: ImportReport
) -> SourceImage | None:
    """One image, None if it was entered as dropped."""
    wrong = unsafe_path(img_id)
    if wrong:
        report.add('image_name_unsafe', f'{root.name}, id {img_id!r}', wrong, images=1)
        return None
    xml = root / 'Annotations' / f'{img_id}.xml'
    if not is_file(xml):
        report.add('labels_unreadable', f'{xml.name} of {img_id}', 'no such file', images=1)
        return None
    try:
        parser = ET.XMLParser(target=_NoDoctype())
        tree = ET.fromstring(xml.read_bytes(), parser=parser)
    except (*FILE_ERRORS, ET.ParseError, ValueError, LookupError, _DoctypeError) as error:
        detail = f'{error}'.replace(str(xml), '').strip(" :'")
        report.add('labels_unreadable', f'{xml.name} of {img_id}', detail, images=1)
        return None
    objects = tree.findall('object')
    report.saw(boxes=len(objects))
    names = [f'{img_id}{suffix}' for suffix in IMAGE_SUFFIXES]
    found = ((name, folder.root / name) for name in names if is_file(folder.root / name))
    name, path = next(found, (names[0], None))
    if path is None:
        path, other = folder.find(name)
        if path is None:
            detail = f'not in {folder.root}, which has for example {other}'
            report.add('image_missing', name, detail, images=1, boxes=len(objects))
            return None
        report.add('image_found_by_name', name, folder.relative(path))
    size = finite_numbers([tree.findtext(f'size/{key}') for key in ('width', 'height')], 2)
    image = SourceImage(name, folder.root, path, size and (int(size[0]), int(size[1])), [])
    for number, node in enumerate(objects, 1):
        box = _read_object(node, f'{name}, object {number}', report)
        if box is not None:
            image.boxes.append(box)
            fields.update({c.tag for c in node if c.text != 'Unspecified'} - _CARRIED)
    return image


def _read_object(node: ET.Element, where: str, report: ImportReport) -> Box | None:
    texts = [node.findtext(f'bndbox/{key}') for key in _CORNERS]
    corners = finite_numbers(texts, 4)
    flags = finite_numbers([node.findtext(key, '0') for key in ('difficult', 'truncated')], 2)
    if corners is None or flags is None or not (node.findtext('name') or '').strip():
        shown = dict(zip(_CORNERS, texts, strict=True))
        detail = (
            f'name {node.findtext("name")!r}, {shown}, difficult {node.findtext("difficult")!r}'
        )
        report.add('box_entry_bad', where, detail, boxes=1)
        return None
    whole = tuple(map(int, corners))
    if whole != corners:
        report.add('box_cut_to_pixels', where, f'{corners} to {whole}')
    label = clean_class_name(node.findtext('name'), where, report)
    return Box(label, from_voc(whole), *map(bool, flags))


def _choose(
    known: SourceSet, classes: Sequence[str] | None, report: ImportReport
) -> tuple[str, ...]:
    """Classes of the result; objects of others are taken out."""
    found = {box.label for image in known.images for box in image.boxes}
    if classes is None:
        order = VOC_CLASSES if found <= set(VOC_CLASSES) else sorted(found)
        return tuple(name for name in order if name in found)
    for image in known.images:
        for box in image.boxes:
            if box.label not in classes:
                report.add('class_not_chosen', image.name, box.label, boxes=1)
        image.boxes = [box for box in image.boxes if box.label in classes]
    return tuple(classes)
