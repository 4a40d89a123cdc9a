# SPDX-License-Identifier: Apache-2.0
"""What an import dropped and changed, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ['REASONS', 'RECORD_NAME', 'REPORT_NAME', 'ImportReport']

REPORT_NAME = 'import_report.json'
"""File of the result. A folder without it is foreign and never replaced."""

RECORD_NAME = 'import_files.json'
"""File of the result: size, time and SHA-256 of each other file, to tell changed ones from."""

SHOWN = 10
"""Names of each reason on the screen; the file has all."""

REASONS: Mapping[str, tuple[str, str]] = {
    # images that are not in the result, with their boxes
    'image_missing': ('dropped', 'images whose file is not there'),
    'image_name_unsafe': ('dropped', 'images whose name leaves the image folder or is no name'),
    'image_unreadable': ('dropped', 'files that are no image, a damaged one, or not to be read'),
    'image_many_frames': ('dropped', 'animated or several pages: which one was annotated?'),
    'image_no_8bit': ('dropped', '32-bit values, which have no fixed range'),
    'image_too_small': ('dropped', 'images of less than two pixels a side'),
    'image_too_large': ('dropped', 'images of more pixels a side than JPEG can hold: --lossless'),
    'image_size_differs': ('dropped', 'images of another size than the annotation tells'),
    'image_turn_unclear': (
        'dropped',
        'images turned by EXIF, where the annotated size does not tell which way round the boxes '
        'are; say --exif upright (as viewers show it) or --exif stored',
    ),
    'image_id_repeated': ('dropped', 'different images of the same id: whose boxes are whose?'),
    'image_entry_bad': ('dropped', 'image entries that cannot be read'),
    'image_listed_again': ('merged', 'images that are listed more than once'),
    'image_annotated_twice': ('dropped', 'second annotations of a file: the first are kept'),
    # boxes
    'box_no_image': ('dropped', 'annotations of an image that is not listed'),
    'box_unknown_class': ('dropped', 'annotations of a class id that has no name'),
    'class_not_chosen': ('dropped', 'objects of classes that were not chosen'),
    'box_entry_bad': ('dropped', 'annotations without a box of four finite numbers'),
    'box_no_area': ('dropped', 'boxes without width or height'),
    'box_outside': ('dropped', 'boxes that lie outside of the image'),
    'yolo_fields': ('dropped', 'lines that are neither `class x y w h` nor a polygon'),
    'yolo_range': ('dropped', 'lines with values outside 0 to 1'),
    'labels_no_image': ('dropped', 'label files without an image'),
    'labels_unreadable': ('dropped', 'label files that cannot be read; image left out with them'),
    'difficult_left_out': ('dropped', 'crowds and difficult objects: YOLO has no flag for them'),
    'annotation_repeated': ('merged', 'annotations that are there twice, id and all'),
    # changes
    'box_clipped': ('changed', 'boxes cut at the border of the image'),
    'box_widened': ('changed', 'boxes thinner than two pixels, widened to two'),
    'box_cut_to_pixels': (
        'changed',
        'fractions in VOC XML, cut to whole pixels as MMDetection does',
    ),
    'crowd_to_difficult': ('changed', 'crowds (iscrowd, ignore), now difficult'),
    'difficult_to_crowd': ('changed', 'difficult objects, now iscrowd'),
    'polygon_to_box': ('changed', 'polygons, of which the surrounding box is kept'),
    'annotation_id_repeated': ('changed', 'annotation ids in double use; ids are given anew'),
    'category_ids': ('changed', 'category ids, which are given anew'),
    'class_renamed': ('changed', 'class names with spaces around or in a row'),
    'class_merged': ('changed', 'class names under several ids, now one class'),
    'image_renamed': ('changed', 'images under another name'),
    'image_found_by_name': (
        'changed',
        'files found under another spelling (Unicode, back slashes)',
    ),
    'image_converted': ('changed', 'images encoded anew'),
    'image_turned': ('changed', 'images turned by EXIF, now upright without it (encoded anew)'),
    'size_from_file': ('changed', 'images without annotated size: taken from the file'),
    'path_read_as': ('changed', 'folders of data.yaml that were read in another way'),
    'field_not_carried': ('changed', 'fields of the source that boxes do not have'),
    # nothing changed
    'label_missing': ('note', 'images without a label file, kept as background'),
    'image_without_boxes': ('note', 'images without any object, kept as background'),
    'image_linked': ('note', 'images that are links to the source files'),
    'class_without_objects': ('note', 'classes without any object'),
    'split_empty': ('note', 'splits without any image that is left'),
    'list_not_read': ('note', 'files of the source that were not read'),
}
"""Kind and meaning of each reason."""


@dataclass
class ImportReport:
    """Books of an import.

    Attributes:
        entries (dict[str, list[str]]): Reason to names with details, in order of appearance.
        lost (dict[str, list[int]]): Reason to images and boxes that are not in the result.
        read (list[int]): Images and boxes of the source.
        written (list[int]): Images and boxes of the result.
        facts (dict): Source, format, classes, splits and so on.

    Example:
        >>> report = ImportReport(read=[2, 3], written=[1, 2])
        >>> report.add('image_missing', 'b.jpg', images=1, boxes=1)
        >>> report.unaccounted()
        (0, 0)
        >>> print(report)
        2 images with 3 boxes read, 1 images with 2 boxes written
        dropped: image_missing, 1: images whose file is not there
            b.jpg: with 1 boxes
    """

    entries: dict[str, list[str]] = field(default_factory=dict)
    lost: dict[str, list[int]] = field(default_factory=dict)
    read: list[int] = field(default_factory=lambda: [0, 0])
    written: list[int] = field(default_factory=lambda: [0, 0])
    facts: dict[str, Any] = field(default_factory=dict)

    def add(self, reason: str, where: str, detail: str = '', images: int = 0, boxes: int = 0):
        """Enter one thing that was dropped or changed.

        Args:
            reason (str): Key of :data:`REASONS`.
            where (str): Name of the image, annotation, line or class.
            detail (str): What exactly. Defaults to ``''``.
            images (int): Images that are lost by it. Defaults to 0.
            boxes (int): Boxes that are lost by it. Defaults to 0.
        """
        if reason not in REASONS:
            raise KeyError(f'no such reason: {reason!r}')
        if images and boxes:
            detail = f'{detail}; with {boxes} boxes' if detail else f'with {boxes} boxes'
        self.entries.setdefault(reason, []).append(f'{where}: {detail}' if detail else where)
        lost = self.lost.setdefault(reason, [0, 0])
        lost[0] += images
        lost[1] += boxes

    def saw(self, images: int = 0, boxes: int = 0) -> None:
        """Count what the source has.

        Args:
            images (int): Images. Defaults to 0.
            boxes (int): Boxes. Defaults to 0.
        """
        self.read[0] += images
        self.read[1] += boxes

    def unaccounted(self) -> tuple[int, int]:
        """Images and boxes that were read, and neither written nor reported; 0 and 0 if right."""
        totals = [sum(lost[k] for lost in self.lost.values()) for k in (0, 1)]
        return tuple(self.read[k] - self.written[k] - totals[k] for k in (0, 1))

    def count(self, reason: str) -> int:
        """How many entries a reason has.

        Args:
            reason (str): Key of :data:`REASONS`.

        Returns:
            int: Number of entries.
        """
        return len(self.entries.get(reason, ()))

    def __str__(self) -> str:
        """Counts, and the first names of each reason."""
        (images, boxes), (images_out, boxes_out) = self.read, self.written
        lines = [
            f'{images} images with {boxes} boxes read, '
            f'{images_out} images with {boxes_out} boxes written'
        ]
        for reason, (kind, meaning) in REASONS.items():
            names = self.entries.get(reason)
            if names:
                lines.append(f'{kind}: {reason}, {len(names)}: {meaning}')
                lines += [f'    {name}' for name in names[:SHOWN]]
                if len(names) > SHOWN:
                    lines.append(f'    ... and {len(names) - SHOWN} more')
        return '\n'.join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain types."""
        out = dict(self.facts)
        for name in ('read', 'written'):
            out[name] = dict(zip(('images', 'boxes'), getattr(self, name), strict=True))
        out['reasons'] = {
            reason: dict(
                kind=REASONS[reason][0],
                meaning=REASONS[reason][1],
                count=len(names),
                images_lost=self.lost[reason][0],
                boxes_lost=self.lost[reason][1],
                entries=names,
            )
            for reason, names in self.entries.items()
        }
        return out

    def to_json(self) -> bytes:
        """The same as JSON text in UTF-8."""
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + '\n'
        # A file name that is no Unicode is written as an escape.
        return text.encode('utf-8', 'backslashreplace')
