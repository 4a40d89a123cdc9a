# SPDX-License-Identifier: Apache-2.0
"""Boxes: from one format's numbers to another's, cut at the image, in VOC's whole pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

from globox import BoundingBox

from .records import Box
from .report import ImportReport

__all__ = ['clean_boxes', 'from_voc', 'to_voc', 'turn_upright']

LTRB = tuple[float, float, float, float]
TOLERANCE = 0.01
"""A box may reach so many pixels beyond the image before its cutting is worth a report."""


def from_voc(corners: Sequence[int]) -> LTRB:
    """Turn VOC's corners, 1-based with inclusive ends, into edges.

    Args:
        corners (Sequence[int]): xmin, ymin, xmax and ymax in pixels.

    Returns:
        tuple[float]: Left, top, right and bottom in pixels, 0-based.

    Example:
        >>> from_voc((1, 1, 500, 375))
        (0.0, 0.0, 500.0, 375.0)
    """
    xmin, ymin, xmax, ymax = corners
    return float(xmin - 1), float(ymin - 1), float(xmax), float(ymax)


def to_voc(ltrb: LTRB, size: tuple[int, int]) -> tuple[tuple[int, int, int, int], bool]:
    """Round a box to VOC's pixels, at least two each way.

    Args:
        ltrb (tuple[float]): Edges in pixels, 0-based, inside of the image.
        size (tuple[int]): Width and height of the image in pixels, at least 2.

    Returns:
        tuple: xmin, ymin, xmax and ymax, 1-based with inclusive ends; and whether the box was
        widened, which moves an edge by 2 px at most instead of 0.5.

    Example:
        >>> to_voc((0.4, 10.0, 99.6, 10.2), (100, 50))
        ((1, 10, 100, 11), True)
    """
    (x1, x2, wide), (y1, y2, high) = (_to_pixels(ltrb[k], ltrb[k + 2], size[k]) for k in (0, 1))
    return (x1 + 1, y1 + 1, x2, y2), wide or high


def _to_pixels(low: float, high: float, length: int) -> tuple[int, int, bool]:
    """Nearest pixel borders, at least two apart; and whether that needed widening."""
    first, last = math.floor(low + 0.5), math.floor(high + 0.5)
    if last - first >= 2:
        return first, last, False
    first = min(max(math.floor((low + high) / 2 - 0.5), 0), length - 2)
    return first, first + 2, True


def turn_upright(ltrb: LTRB, size: tuple[int, int], orientation: int) -> LTRB:
    """Turn a box with its image.

    Args:
        ltrb (tuple[float]): Edges in the stored image.
        size (tuple[int]): Width and height of the stored image, in the units of the box.
        orientation (int): EXIF orientation, 1 to 8.

    Returns:
        tuple[float]: Edges in the upright image.

    Example:
        >>> turn_upright((0, 0, 10, 5), (100, 60), 6)
        (55, 0, 60, 10)
    """
    x1, y1, x2, y2 = ltrb
    width, height = size
    if orientation in (2, 3, 7, 8):
        x1, x2 = width - x2, width - x1
    if orientation in (3, 4, 6, 7):
        y1, y2 = height - y2, height - y1
    return (y1, x1, y2, x2) if orientation >= 5 else (x1, y1, x2, y2)


def clean_boxes(
    boxes: Sequence[Box],
    name: str,
    size: tuple[int, int],
    report: ImportReport,
    *,
    fractions: bool = False,
    stored_size: tuple[int, int] | None = None,
    orientation: int = 1,
) -> list[Box]:
    """Put boxes into pixels of the final image and cut them at its border.

    Args:
        boxes (Sequence[:obj:`Box`]): As the source has them.
        name (str): Name of the image, for the report.
        size (tuple[int]): Width and height of the final image in pixels.
        report (ImportReport): Gets what is dropped or changed.
        fractions (bool): Whether they are fractions of the image. Defaults to False.
        stored_size (tuple[int], optional): Width and height of the stored image, if boxes refer
            to that. Defaults to None, to the final image.
        orientation (int): EXIF orientation of the stored image. Defaults to 1.

    Returns:
        list[:obj:`Box`]: Boxes with an area in the image.

    Example:
        >>> report = ImportReport()
        >>> clean_boxes([Box('cat', (-5, 0, 5, 5))], 'a.jpg', (8, 8), report)[0].ltrb
        (0.0, 0.0, 5.0, 5.0)
        >>> report.count('box_clipped')
        1
    """
    cleaned = []
    width, height = size
    for number, box in enumerate(boxes, 1):
        ltrb = box.ltrb
        if fractions:
            ltrb = BoundingBox.rel_to_abs(ltrb, stored_size or size)
        if stored_size:
            ltrb = turn_upright(ltrb, stored_size, orientation)
        where = f'{name}, box {number} ({box.label})'
        detail = f'{_show(ltrb)} in an image of {width} x {height}'
        left, top, right, bottom = (float(value) for value in ltrb)
        if right <= left or bottom <= top:
            report.add('box_no_area', where, detail, boxes=1)
            continue
        cut = (max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height)))
        if cut[2] <= cut[0] or cut[3] <= cut[1]:
            report.add('box_outside', where, detail, boxes=1)
            continue
        if max(abs(a - b) for a, b in zip(cut, ltrb, strict=True)) > TOLERANCE:
            report.add('box_clipped', where, detail)
        cleaned.append(Box(box.label, cut, box.difficult, box.truncated))
    return cleaned


def _show(ltrb: LTRB) -> str:
    return 'left {:g}, top {:g}, right {:g}, bottom {:g}'.format(*ltrb)
