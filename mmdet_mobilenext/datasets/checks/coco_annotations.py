# SPDX-License-Identifier: Apache-2.0
"""Check the lists of a COCO json, as ``mmdet.datasets.CocoDataset`` reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .annotations import Counts, conclude_counts, did_you_mean
from .coco_source import CocoSource
from .report import CheckReport
from .values import finite_numbers, is_id, unsafe_path
from .wording import list_some, show

__all__ = ['check_annotations', 'check_categories', 'check_images_list']

_EXAMPLES = 3
_BEYOND = 1.0  # px: boxes are rounded to less than that

# Why MMDetection leaves a box out, or what is odd about one that it reads.
_NO_AREA = 'without area (`area` not above 0, or width or height below 1 pixel) are left out'
_OUTSIDE = 'outside of their image are left out'
_IGNORED = 'with `ignore` are left out'
_NO_IMAGE = 'of an `image_id` that no image has are left out'
_REACHES = (
    'that reach more than a pixel out of their image are not cut; is `bbox` left, top, width and '
    'height, not two corners?'
)

Images = dict[Any, tuple[str, tuple[int, int] | None]]


def check_categories(entries: list, source: CocoSource, report: CheckReport) -> dict[Any, str]:
    """Check ids, names and order of the categories; return the id to the name."""
    names: dict[Any, str] = {}
    for number, entry in enumerate(entries, 1):
        where = f'category {number}'
        if not isinstance(entry, dict) or not is_id(entry.get('id')):
            report.add('bad_category', source.ann_file, f'{where} has no usable id: {show(entry)}')
        elif entry['id'] in names:
            detail = f'{where}: id {show(entry["id"])} is that of {show(names[entry["id"]])} too'
            report.add('bad_category', source.ann_file, detail)
        else:
            name = entry.get('name')
            if not isinstance(name, str):
                report.add('bad_category', source.ann_file, f'{where} has no name: {show(entry)}')
            elif name in names.values() and name in source.classes:
                detail = f'{where}: {show(name)} is there twice, two classes to MMDetection'
                report.add('bad_category', source.ann_file, detail)
            names[entry['id']] = str(name)
    known = [name for name in dict.fromkeys(names.values()) if name in source.classes]
    absent = [name for name in source.classes if name not in known]
    for label, (name, expected) in enumerate(zip(known, source.classes, strict=False)):
        if name != expected:
            lacks = f' ({show(expected)} is no category)' if expected in absent else ''
            detail = (
                f'objects of {show(name)} get the label {label}, which is {show(expected)} in '
                f'`metainfo.classes`{lacks}'
            )
            order = ', '.join(known[:30]) + (', ...' if len(known) > 30 else '')
            report.add('class_order', source.ann_file, detail, f'the order there is: {order}')
            break
    if absent:
        report.warnings.append(
            f'{source.title}: {len(absent)} class(es) of `metainfo.classes` are no category of '
            f'{source.ann_file}: {list_some(absent)}'
        )
    return names


def check_images_list(entries: list, source: CocoSource, report: CheckReport) -> Images:
    """Check the images; return the id to file name and (width, height) in pixels.

    ``report.ids`` gets the file names, each once. The size is None if it is not known.
    """
    images: Images = {}
    by_name: dict[str, int] = {}
    for number, entry in enumerate(entries, 1):
        where = f'image {number}'
        if not isinstance(entry, dict):
            report.add('bad_image_entry', source.ann_file, f'{where} is {show(entry)}')
            continue
        key, name = entry.get('id'), entry.get('file_name')
        wrong = unsafe_path(name)
        where = f'{where} ({show(name)})'
        raw = [entry.get('width'), entry.get('height')]
        size = _numbers(raw, 2)
        if wrong:
            report.add('bad_image_entry', source.ann_file, f'{where}: file_name {wrong}')
        elif name in by_name:
            detail = f'{where}: the file is that of image {by_name[name]} too'
            report.add('duplicate_id', source.ann_file, detail)
        else:
            by_name[name] = number
        if size is None or min(size) < 1 or any(value % 1 for value in size):
            size = None
            got = f'width {show(raw[0])}, height {show(raw[1])}'
            report.add('bad_image_entry', source.ann_file, f'{where}: {got}')
        if not is_id(key):
            report.add('bad_image_entry', source.ann_file, f'{where}: id {show(key)}')
        elif key in images:
            detail = f'{where}: id {show(key)} is that of {images[key][0]} too'
            report.add('duplicate_id', source.ann_file, detail)
        else:
            images[key] = (show(name) if wrong else name, size and (int(size[0]), int(size[1])))
    report.ids = tuple(by_name)
    report.images = len(report.ids)
    if not entries:
        report.add('no_images', source.ann_file, '`images` is empty')
    return images


def _numbers(values: object, number: int) -> tuple[float, ...] | None:
    """Finite numbers that are not written as texts, with which MMDetection cannot count."""
    numbers = finite_numbers(values, number)
    return None if numbers is None or any(isinstance(v, str) for v in values) else numbers


class _Odd:
    """Boxes that are left out or odd, by reason: their number and the first of them."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}

    def add(self, reason: str, entry: Mapping, image: str) -> None:
        """Count a box."""
        self.counts[reason] += 1
        if self.counts[reason] <= _EXAMPLES:
            text = f'id {show(entry["id"])} of {image}: {show(entry.get("bbox"))}'
            self._examples.setdefault(reason, []).append(text)

    def warnings(self) -> Iterator[str]:
        """Say each reason."""
        for reason, count in self.counts.items():
            more = '; ...' if count > _EXAMPLES else ''
            yield f'{count} box(es) {reason}: {"; ".join(self._examples[reason])}{more}'


def check_annotations(
    entries: list,
    images: Images,
    names: Mapping[Any, str],
    source: CocoSource,
    unknown_classes: str,
    report: CheckReport,
) -> None:
    """Check the annotations, in the order in which MMDetection looks at them."""
    odd = _Odd()
    unknown: Counter[Any] = Counter()
    seen: set[Any] = set()
    with_boxes: set[Any] = set()
    for number, entry in enumerate(entries, 1):
        wrong = _wrong_annotation(entry, images, seen)
        if wrong:
            report.add('bad_annotation', source.ann_file, f'annotation {number}{wrong}')
            continue
        name = names.get(entry['category_id'])
        if entry['image_id'] not in images:
            odd.add(_NO_IMAGE, entry, f'image_id {show(entry["image_id"])}')
            continue
        image, size = images[entry['image_id']]
        reason = _why_left_out(entry, size)
        if reason:
            odd.add(reason, entry, image)
        elif name not in report.per_class:
            unknown[entry['category_id']] += 1
        else:
            if _reaches_out(entry['bbox'], size):
                odd.add(_REACHES, entry, image)
            report.objects += 1
            report.per_class[name] += 1
            report.difficult += bool(entry.get('iscrowd', False))
            with_boxes.add(entry['image_id'])
    report.images_without_boxes = len(images) - len(with_boxes)
    report.warnings += [f'{source.title}: {text}' for text in odd.warnings()]

    counts = Counts()
    for key, count in unknown.items():
        name = names.get(key)
        if unknown_classes == 'ignore':
            counts.unknown[f'category_id {key}' if name is None else name] += count
            continue
        if name is None:
            detail = f'{count} object(s) of category_id {show(key)}, which no category has'
        else:
            close = did_you_mean(name, source.classes)
            detail = f'{count} object(s) of category {show(name)} (id {show(key)}){close}'
        known = f'known are: {list_some(source.classes, 30)}'
        report.add('unknown_class', source.ann_file, detail, known)
    left_out = sum(odd.counts[reason] for reason in (_NO_AREA, _OUTSIDE, _NO_IMAGE))
    if left_out and not report.objects and not unknown:
        detail = f'all {left_out} boxes have no area, lie outside of their image or have no image'
        report.add('no_objects', source.ann_file, detail)
    conclude_counts(source, report, counts)


def _why_left_out(entry: Mapping, size: tuple[int, int] | None) -> str:
    """Say why MMDetection leaves a box out, ``''`` if it does not."""
    if entry.get('ignore', False):
        return _IGNORED
    left, top, width, height = entry['bbox']
    if entry['area'] <= 0 or width < 1 or height < 1:
        return _NO_AREA
    if size is not None and not (
        min(left + width, size[0]) > max(left, 0) and min(top + height, size[1]) > max(top, 0)
    ):
        return _OUTSIDE
    return ''


def _reaches_out(bbox: Sequence[float], size: tuple[int, int] | None) -> bool:
    """Whether a box goes beyond its image further than by rounding."""
    left, top, width, height = bbox
    return size is not None and (
        min(left, top) < -_BEYOND
        or left + width > size[0] + _BEYOND
        or top + height > size[1] + _BEYOND
    )


def _wrong_annotation(entry: Any, images: Images, seen: set[Any]) -> str:
    """Say why MMDetection cannot read an annotation, ``''`` if it can."""
    if not isinstance(entry, dict):
        return f' is {show(entry)}'
    key, image_id, category = (entry.get(name) for name in ('id', 'image_id', 'category_id'))
    label = f' (id {show(key)})'
    if not is_id(key):
        return f' has the id {show(key)}'
    if key in seen:
        return f'{label}: the id is that of another annotation too'
    seen.add(key)
    if not is_id(image_id):
        return f'{label} has the image_id {show(image_id)}'
    if not is_id(category):
        return f'{label} has the category_id {show(category)}'
    if image_id not in images or entry.get('ignore', False):
        return ''  # MMDetection does not look at the rest
    if _numbers(entry.get('bbox'), 4) is None:
        return f'{label} of {images[image_id][0]}: bbox {show(entry.get("bbox"))}'
    if _numbers([entry.get('area')], 1) is None:
        return f'{label} of {images[image_id][0]}: area {show(entry.get("area"))}'
    return ''
