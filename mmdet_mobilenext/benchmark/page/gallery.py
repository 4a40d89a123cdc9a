# SPDX-License-Identifier: Apache-2.0
"""Pictures on which two detectors disagree: ground truth and both detectors side by side.

MMDetection's ``DetLocalVisualizer`` draws at the size of the image and colours by class. Here small
images are enlarged before drawing, so that labels can be read, and the colour tells whether a
detection is right.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import matplotlib
import mmcv
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmdet_mobilenext.evaluation.matching import Matches, match_voc
from mmdet_mobilenext.evaluation.records import DetectionRecords

from .tables import TIMES

__all__ = ['GalleryItem', 'Panel', 'make_gallery']

_SIDE = 480
"""Longer side of a drawn image, px."""
_MOST_BYTES = 40_000  # 12 pictures of 3 panels stay below 2 MB in the page
_TRUTH, _RIGHT, _WRONG, _MISSED = '#ffffff', '#56b4e9', '#d55e00', '#f0e442'


@dataclass(frozen=True)
class Panel:
    """One drawn image.

    Attributes:
        label (str): Whose boxes are drawn.
        description (str): What was found, in words.
        jpeg (bytes | None): The picture; None if the image cannot be drawn.
        size (tuple[int, int]): Width and height, px.
    """

    label: str
    description: str
    jpeg: bytes | None = None
    size: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class GalleryItem:
    """An image with the boxes of the ground truth and of two detectors.

    Attributes:
        image_id (str): Name of the image.
        caption (str): F1 of both detectors on it.
        panels (tuple[Panel, ...]): Ground truth, first and second detector.
        problem (str): Why there is no picture, else empty.
    """

    image_id: str
    caption: str
    panels: tuple[Panel, ...] = field(default=())
    problem: str = ''


def make_gallery(
    disagreement: Sequence[dict],
    records_a: DetectionRecords,
    records_b: DetectionRecords,
    names: Sequence[str],
    thresholds: Sequence[float],
) -> list[GalleryItem]:
    """Draw the images on which two detectors disagree.

    Args:
        disagreement (Sequence[dict]): Entries with ``image_id``, ``f1_a`` and ``f1_b``.
        records_a (DetectionRecords): Detections of the first detector; its ``image_paths`` are
            read.
        records_b (DetectionRecords): Detections of the second one, on the same images.
        names (Sequence[str]): Names of both.
        thresholds (Sequence[float]): Score from which detections are drawn, of both.

    Returns:
        list[GalleryItem]: One for each entry. An image that cannot be read gives an item that
        says so.

    Raises:
        KeyError: If an entry names an image that is not in the records.

    Example:
        >>> records = DetectionRecords.from_lists(
        ...     ('cat',), ['a'], det=[([[0, 0, 9, 9]], [0.5], [0])], gt=[([[0, 0, 9, 9]], [0], [0])]
        ... )
        >>> entry = {'image_id': 'a', 'f1_a': 1.0, 'f1_b': 1.0}
        >>> make_gallery([entry], records, records, ('one', 'two'), (0.3, 0.3))[0].problem
        'no image file is known'
    """
    pair = (records_a, records_b)
    matches = [match_voc(records) for records in pair]
    rows = [{name: k for k, name in enumerate(r.image_ids.tolist())} for r in pair]
    items = []
    for entry in disagreement:
        name = str(entry['image_id'])
        for row, model in zip(rows, names, strict=True):
            if name not in row:
                raise KeyError(f'image {name!r} is not among the {len(row)} images of {model}')
        caption = f'F1 {entry["f1_a"]:.2f} of {names[0]}, {entry["f1_b"]:.2f} of {names[1]}'
        try:
            picture = _read(records_a, rows[0][name])
        except _UnreadableError as error:
            items.append(GalleryItem(name, caption, problem=str(error)))
            continue
        panels = [_draw('ground truth', picture, _truth(records_a, rows[0][name]))]
        for records, match, row, model, threshold in zip(
            pair, matches, rows, names, thresholds, strict=True
        ):
            label = f'{model}, score ≥ {threshold:.2f}'
            panels.append(_draw(label, picture, _found(records, match, row[name], threshold)))
        items.append(GalleryItem(name, caption, tuple(panels)))
    return items


class _UnreadableError(Exception):
    """An image cannot be shown; the message tells why."""


@dataclass(frozen=True)
class _Box:
    box: np.ndarray
    text: str
    colour: str
    dashed: bool = False


def _read(records: DetectionRecords, index: int) -> Image.Image:
    """The image as the detector saw it (turned as its EXIF data say)."""
    path = str(records.image_paths[index])
    if not path:
        raise _UnreadableError('no image file is known')
    try:
        array = mmcv.imread(path, channel_order='rgb')
    except (OSError, cv2.error) as error:
        raise _UnreadableError(f'{Path(path).name} cannot be read') from error
    if array is None:
        raise _UnreadableError(f'{Path(path).name} is no image')
    height, width = records.image_sizes[index].tolist()
    if height and (height, width) != array.shape[:2]:
        raise _UnreadableError(
            f'{Path(path).name} has {array.shape[1]}{TIMES}{array.shape[0]} px and had '
            f'{width}{TIMES}{height} px when it was tested'
        )
    return Image.fromarray(array)


def _truth(records: DetectionRecords, index: int) -> list[_Box]:
    boxes = []
    for k in np.flatnonzero(records.gt_images == index):
        text = records.classes[records.gt_labels[k]]
        ignored = bool(records.gt_ignored[k])
        text += ' (difficult)' if ignored else ''
        boxes.append(_Box(records.gt_boxes[k], text, _TRUTH, ignored))
    return boxes


def _found(records: DetectionRecords, match: Matches, index: int, threshold: float) -> list[_Box]:
    """Missed objects below, then detections by rising score, so that the surest is on top."""
    shown = np.flatnonzero((match.images == index) & (match.scores >= threshold))
    hit = set(match.gt_index[shown[match.tp[shown]]].tolist())
    boxes = [
        _Box(records.gt_boxes[k], f'missed {records.classes[records.gt_labels[k]]}', _MISSED, True)
        for k in np.flatnonzero((records.gt_images == index) & ~records.gt_ignored)
        if k not in hit
    ]
    for k in shown[np.argsort(match.scores[shown], kind='stable')]:
        text = f'{records.classes[match.labels[k]]} {100 * match.scores[k]:.0f}'
        colour = _RIGHT if match.tp[k] else _WRONG if match.fp[k] else _TRUTH
        boxes.append(_Box(records.det_boxes[match.order[k]], text, colour))
    return boxes


def _draw(label: str, picture: Image.Image, boxes: list[_Box]) -> Panel:
    scale = _SIDE / max(picture.size)
    size = tuple(max(1, round(side * scale)) for side in picture.size)
    image = picture.resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    # comes with matplotlib, so it is there, and has more letters than OpenCV's
    font_file = Path(matplotlib.get_data_path()) / 'fonts/ttf/DejaVuSans-Bold.ttf'
    font = ImageFont.truetype(str(font_file), 15)
    for box in boxes:
        _outline(draw, box, scale, size)
    taken: list[tuple[float, ...]] = []
    for box in reversed(boxes):
        _write(draw, box, scale, size, font, taken)
    told = ', '.join(box.text for box in boxes) or 'nothing'
    return Panel(label, told, _compress(image), size)


def _corners(box: _Box, scale: float, size: tuple[int, ...]) -> tuple[float, ...]:
    """The box in the drawn image, inside of it."""
    ends = (*size, *size)
    return tuple(
        float(np.clip(v * scale, 1, end - 2)) for v, end in zip(box.box, ends, strict=True)
    )


def _outline(draw: ImageDraw.ImageDraw, box: _Box, scale: float, size: tuple[int, ...]) -> None:
    x1, y1, x2, y2 = _corners(box, scale, size)
    for colour, width in (('#000000', 5), (box.colour, 3)):  # seen on light and dark images
        if not box.dashed:
            draw.line([(x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1)], colour, width, 'curve')
            continue
        for start, end in (
            ((x1, y1), (x2, y1)),
            ((x2, y1), (x2, y2)),
            ((x2, y2), (x1, y2)),
            ((x1, y2), (x1, y1)),
        ):
            begin, step = np.array(start), np.array(end) - np.array(start)
            count = max(1, round(float(np.abs(step).sum()) / 14))
            for k in range(count):
                ends = begin + step * (k / count), begin + step * ((k + 0.6) / count)
                draw.line([tuple(point) for point in ends], colour, width)


def _write(
    draw: ImageDraw.ImageDraw,
    box: _Box,
    scale: float,
    size: tuple[int, ...],
    font: ImageFont.FreeTypeFont,
    taken: list[tuple[float, ...]],
) -> None:
    """Label a box at a corner where no label is yet, if there is one; the surest comes first."""
    x1, y1, x2, y2 = _corners(box, scale, size)
    left, top, right, bottom = draw.textbbox((0, 0), box.text, font=font)
    width, height = right - left + 8, bottom - top + 6
    places = [(x1, y1 - height), (x1, y1), (x2 - width, y1), (x1, y2 - height), (x1, y2)]
    places += [(x2 - width, y2 - height), (x1, (y1 + y2 - height) / 2)]
    frames = []
    for x, y in places:
        x, y = (
            min(max(x, 0), max(size[0] - width, 0)),
            min(max(y, 0), max(size[1] - height, 0)),
        )
        frames.append((x, y, x + width, y + height))
    free = (f for f in frames if not any(_overlap(f, other) for other in taken))
    frame = next(free, frames[0])
    taken.append(frame)
    draw.rectangle(frame, fill=box.colour)
    ink = '#ffffff' if box.colour == _WRONG else '#000000'
    draw.text((frame[0] + 4 - left, frame[1] + 3 - top), box.text, font=font, fill=ink)


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _compress(image: Image.Image) -> bytes:
    """JPEG below ``_MOST_BYTES`` if quality 50 can do it."""
    for quality in (82, 70, 60, 50):
        stream = io.BytesIO()
        image.save(stream, 'JPEG', quality=quality, optimize=True)
        if stream.tell() <= _MOST_BYTES:
            break
    return stream.getvalue()
