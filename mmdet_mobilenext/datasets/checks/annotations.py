# SPDX-License-Identifier: Apache-2.0
"""Check the annotation XML of a VOC-format data set, as ``mmdet.datasets.XMLDataset`` reads it."""

from __future__ import annotations

import difflib
import functools
import math
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass, field

from .coco_source import CocoSource
from .report import CheckReport
from .sources import VOCSource
from .wording import list_some, show

__all__ = ['Counts', 'check_xml', 'conclude_counts', 'did_you_mean']


@dataclass
class Counts:
    """What becomes a warning once all files are read."""

    unknown: Counter = field(default_factory=Counter)
    thin: int = 0
    thin_example: str = ''


class _NoDoctype(ET.TreeBuilder):
    """Tree builder that refuses a DOCTYPE, which is where entities are declared."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise _DoctypeError(f'has a DOCTYPE {show(name)}')


class _DoctypeError(Exception):
    """An XML file has a DOCTYPE."""


def _text(element: ET.Element, tag: str) -> str | None:
    child = element.find(tag)
    return None if child is None else child.text


def check_xml(
    path: str,
    classes: tuple[str, ...],
    unknown_classes: str,
    report: CheckReport,
    counts: Counts,
) -> tuple[int, int] | None:
    """Check one annotation; return its (width, height) in pixels if they are good."""
    try:
        with open(path, 'rb') as file:
            data = file.read()
    except OSError as error:
        report.add('unreadable', path, str(error))
        return None
    try:
        root = ET.fromstring(data, parser=ET.XMLParser(target=_NoDoctype()))
    except _DoctypeError as error:
        report.add('xml_doctype', path, str(error))
        return None
    except (ET.ParseError, ValueError, LookupError) as error:
        # The parser's text names line and column. The last two: encodings that Python lacks.
        report.add('bad_xml', path, f'not XML: {error}')
        return None

    size = root.find('size')
    raw = None if size is None else [_text(size, 'width'), _text(size, 'height')]
    try:
        size = tuple(int(text) for text in raw)
        if min(size) <= 0:
            raise ValueError
    except (TypeError, ValueError):
        size = None
        got = 'no <size>' if raw is None else f'width {show(raw[0])}, height {show(raw[1])}'
        report.add('bad_size', path, got)

    unknown = Counter()
    known = 0
    for number, obj in enumerate(root.findall('object'), 1):
        name = _text(obj, 'name')
        label = f'object {number} ({show(name)})'
        if name is None:
            report.add('bad_object', path, f'object {number} has no <name>')
            continue
        if name not in classes:
            unknown[name] += 1
            if unknown_classes == 'ignore':  # neither does MMDetection look at its box
                continue
        else:
            known += 1
            report.per_class[name] += 1
            report.truncated += _text(obj, 'truncated') == '1'
            report.difficult += _is_difficult(obj, path, label, report)
        _check_box(obj, size, path, label, report, counts)
    report.objects += known
    report.images_without_boxes += not known
    if unknown_classes == 'ignore':
        counts.unknown.update(unknown)
        return size
    for name, count in unknown.items():
        detail = f'{count} object(s) of class {show(name)}{did_you_mean(name, classes)}'
        report.add('unknown_class', path, detail, f'known are: {list_some(classes, 30)}')
    return size


@functools.lru_cache(maxsize=1024)  # a wrong name is mostly wrong in every file
def did_you_mean(name: str, classes: tuple[str, ...]) -> str:
    """Name the class that is nearly written so, ``''`` if there is none."""
    by_lower = {known.lower(): known for known in classes}
    close = difflib.get_close_matches(name.strip().lower(), by_lower, 1)
    return f', did you mean {by_lower[close[0]]!r}?' if close else ''


def _is_difficult(obj: ET.Element, path: str, label: str, report: CheckReport) -> bool:
    if obj.find('difficult') is None:
        return False
    text = _text(obj, 'difficult')
    try:
        return int(text) != 0
    except (TypeError, ValueError):
        report.add('bad_object', path, f'{label}: <difficult> is {show(text)}')
        return False


def _check_box(
    obj: ET.Element,
    size: tuple[int, int] | None,
    path: str,
    label: str,
    report: CheckReport,
    counts: Counts,
) -> None:
    """Check one box; ``size`` is the image's (width, height) in pixels, None if not known."""
    bndbox = obj.find('bndbox')
    if bndbox is None:
        report.add('bad_box', path, f'{label} has no <bndbox>')
        return
    raw = [_text(bndbox, tag) for tag in ('xmin', 'ymin', 'xmax', 'ymax')]
    got = 'xmin {}, ymin {}, xmax {}, ymax {}'.format(*(show(text) for text in raw))
    try:
        # As mmdet does it. Published VOC has coordinates such as 45.70000076293945.
        xmin, ymin, xmax, ymax = (int(float(text)) for text in raw)
    except (TypeError, ValueError, OverflowError):  # nothing, no number or nan, inf
        report.add('bad_box', path, f'{label}: {got}')
        return
    if xmax < xmin or ymax < ymin:
        report.add('box_no_area', path, f'{label}: {got}')
        return
    width, height = size or (math.inf, math.inf)
    if xmin < 1 or ymin < 1 or xmax > width or ymax > height:
        within = f' in an image of {width} x {height}' if size else ''
        report.add('box_outside', path, f'{label}: {got}{within}')
    elif xmin == xmax or ymin == ymax:
        counts.thin += 1
        counts.thin_example = counts.thin_example or path


def conclude_counts(source: VOCSource | CocoSource, report: CheckReport, counts: Counts) -> None:
    """Turn what was counted over all files into warnings, or an error if nothing is left."""
    if counts.thin:
        report.warnings.append(
            f'{source.title}: {counts.thin} box(es) of one pixel width or height; legal in VOC, '
            f'but MMDetection reads them as boxes without area, e.g. {counts.thin_example}'
        )
    total = sum(counts.unknown.values())
    if total:
        names = ', '.join(f'{show(name)} {n}' for name, n in counts.unknown.most_common(12))
        report.warnings.append(
            f'{source.title}: {total} object(s) of unknown classes are left out: {names}'
        )
        if not report.objects:
            known = list_some(source.classes, 30)
            detail = f'all {total} objects are of unknown classes ({names}); known: {known}'
            report.add('no_objects', source.ann_file, detail)
    elif report.images and not report.objects and report.ok:
        report.warnings.append(f'{source.title}: no object in any of {report.images} images')
