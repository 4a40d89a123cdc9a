# SPDX-License-Identifier: Apache-2.0
"""Read YOLO text files, with Ultralytics' ``data.yaml`` or without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from globox import BoundingBox

from mmdet_mobilenext.datasets.checks.values import finite_numbers

from .paths import FILE_ERRORS, ImageFolder, is_file, read_text
from .records import Box, ImportDataError, SourceImage, SourceSet, check_chosen
from .report import ImportReport
from .yolo_yaml import YoloLayout, read_layout

__all__ = ['read_yolo']

_EDGE = 1e-6
"""So far outside of 0..1 a value may be: it was written with few digits."""


def read_yolo(
    source: str,
    folder: ImageFolder | None,
    classes: Sequence[str] | None,
    report: ImportReport,
) -> SourceSet:
    """Read a ``data.yaml``, or a folder of label files.

    Args:
        source (str): The yaml file, or the folder with a text file for each image.
        folder (:obj:`ImageFolder`, optional): With a yaml file: the folder that its paths start
            from; None takes that of the file. With a folder of labels: the images.
        classes (Sequence[str], optional): With a yaml file: the classes to keep, in order; None
            keeps all. With a folder: the names of the class numbers.
        report (ImportReport): Gets what is dropped or changed.

    Returns:
        SourceSet: Images, whose boxes are fractions, and splits.

    Raises:
        ImportDataError: Names, images or folders are missing or unsafe.
        FileNotFoundError: ``source`` does not exist.
    """
    if Path(source).is_dir():
        if folder is None or not classes:
            missing = '--images DIR' if folder is None else '--classes names.txt'
            raise ImportDataError(f'{source} is a folder of labels: give {missing} as well')
        names = dict(enumerate(classes))
        layout = YoloLayout(folder, names, {'': folder.files()}, Path(source))
    else:
        layout = read_layout(Path(source), folder, report)
        check_chosen(classes, list(dict.fromkeys(layout.names.values())))
    known = SourceSet(tuple(classes) if classes else tuple(dict.fromkeys(layout.names.values())))
    made: dict[Path, SourceImage] = {}
    for split, paths in layout.splits.items():
        known.splits.setdefault(split, {})  # also if none of its images is there
        for path in paths:
            if path not in made:
                report.saw(images=1)
                image = _read_image(path, layout, known.classes, report)
                made[path] = image
            if made[path] is not None:
                known.add(split, made[path], report)
    _note_unused_labels(layout, made, report)
    if made and report.count('label_missing') == len(made):
        raise ImportDataError(
            f'none of the {len(made)} images has a label file: the first looked for is '
            f'{_label_of(next(iter(made)), layout)}'
        )
    return known


def _label_of(path: Path, layout: YoloLayout) -> Path:
    """The label file of an image: beside it, with the last folder ``images`` made ``labels``."""
    relative = PurePosixPath(layout.folder.relative(path))
    if layout.labels is not None:
        return layout.labels / relative.with_suffix('.txt')
    parts = list(relative.parts)
    for place in reversed(range(len(parts) - 1)):
        if parts[place] == 'images':
            parts[place] = 'labels'
            break
    return layout.folder.root.joinpath(*parts).with_suffix('.txt')


def _read_image(
    path: Path, layout: YoloLayout, classes: Sequence[str], report: ImportReport
) -> SourceImage | None:
    name = layout.folder.relative(path)
    image = SourceImage(name, layout.folder.root, path, None, [], fractions=True)
    label = _label_of(path, layout)
    if not is_file(label):
        report.add('label_missing', name, f'no {label}')
        return image
    try:
        lines = read_text(label).splitlines()
    except (*FILE_ERRORS, ImportDataError) as error:
        report.add('labels_unreadable', f'{label.name} of {name}', str(error), images=1)
        return None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        report.saw(boxes=1)
        where = f'{name}, line {number}'
        box = _read_line(line.split(), where, layout.names, report)
        if box is not None and box.label not in classes:
            report.add('class_not_chosen', where, box.label, boxes=1)
        elif box is not None:
            image.boxes.append(box)
    return image


def _read_line(
    fields: list[str], where: str, names: Mapping[int, str], report: ImportReport
) -> Box | None:
    """A box in fractions of the image; None if the line was entered as dropped."""
    polygon = len(fields) >= 7 and len(fields) % 2 == 1
    text = ' '.join(fields)
    text = text if len(text) <= 80 else f'{text[:77]}...'
    if len(fields) != 5 and not polygon:
        report.add('yolo_fields', where, f'{len(fields)} fields: {text}', boxes=1)
        return None
    numbers = finite_numbers(fields)
    if numbers is None:
        report.add('box_entry_bad', where, text, boxes=1)
        return None
    key, *values = numbers
    if key not in names:  # 1.0 is 1
        last = max(names)
        report.add('box_unknown_class', where, f'class {fields[0]}, the last is {last}', boxes=1)
        return None
    if min(values) < -_EDGE or max(values) > 1 + _EDGE:
        report.add('yolo_range', where, text, boxes=1)
        return None
    if polygon:
        report.add('polygon_to_box', where, f'{len(values) // 2} points')
        xs, ys = values[::2], values[1::2]
        ltrb = (min(xs), min(ys), max(xs), max(ys))
    else:
        ltrb = BoundingBox.xywh_to_ltrb(tuple(values))
    return Box(names[int(key)], ltrb)


def _note_unused_labels(
    layout: YoloLayout, made: Mapping[Path, object], report: ImportReport
) -> None:
    """Name label files beside those that were used, but without an image."""
    used = {_label_of(path, layout) for path in made}
    folders = {layout.labels} if layout.labels else {label.parent for label in used}
    for folder in sorted(f for f in folders if f.is_dir()):
        for path in sorted(folder.rglob('*.txt') if layout.labels else folder.glob('*.txt')):
            if path in used or path.name == 'classes.txt' or path in layout.lists:
                continue
            lines = path.read_text(encoding='utf-8', errors='replace').splitlines()
            boxes = sum(bool(line.strip()) for line in lines)
            report.saw(boxes=boxes)
            report.add('labels_no_image', str(path), f'{boxes} lines', boxes=boxes)
