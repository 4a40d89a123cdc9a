# SPDX-License-Identifier: Apache-2.0
"""Write a set in the layout of VOC, COCO or YOLO."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import yaml
from globox import BoundingBox

from .boxes import to_voc
from .out_folder import OutFolder
from .pictures import Placed
from .records import Box
from .report import ImportReport

__all__ = ['IMAGE_FOLDERS', 'FinalImage', 'write_coco', 'write_voc', 'write_yolo']

IMAGE_FOLDERS = {'voc': 'JPEGImages', 'coco': 'images', 'yolo': 'images'}
"""Where each format has its images."""


@dataclass
class FinalImage:
    """An image of the result.

    Attributes:
        img_id (str): File name without extension.
        placed (Placed): Its file.
        boxes (list[:obj:`Box`]): Objects, with an area in the image.
    """

    img_id: str
    placed: Placed
    boxes: list[Box]


def _edges(box: Box) -> BoundingBox:
    xmin, ymin, xmax, ymax = box.ltrb
    return BoundingBox(label=box.label, xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax)


def write_voc(
    out: OutFolder,
    images: Sequence[FinalImage],
    splits: Mapping[str, Sequence[str]],
    classes: Sequence[str],
    report: ImportReport,
) -> None:
    """Write ``Annotations``, ``ImageSets/Main`` and ``classes.txt``.

    Args:
        out (OutFolder): Folder of the set; images are in it.
        images (Sequence[:obj:`FinalImage`]): All images.
        splits (Mapping[str, Sequence[str]]): Name of each split to its ids.
        classes (Sequence[str]): Class names in order.
        report (ImportReport): Gets widened boxes.
    """
    for image in images:
        out.write(f'Annotations/{image.img_id}.xml', _voc_xml(image, report))
    for split, ids in splits.items():
        out.write_lines(f'ImageSets/Main/{split}.txt', ids)
    out.write_lines('classes.txt', classes)


def _voc_xml(image: FinalImage, report: ImportReport) -> bytes:
    root = ET.Element('annotation')

    def put(parent: ET.Element, **values: object) -> None:
        for key, value in values.items():
            ET.SubElement(parent, key).text = str(value)

    width, height = image.placed.size
    put(root, folder='JPEGImages', filename=image.placed.file_name)
    size = ET.SubElement(root, 'size')
    put(size, width=width, height=height, depth=image.placed.channels)
    put(root, segmented=0)
    for number, box in enumerate(image.boxes, 1):
        corners, widened = to_voc(box.ltrb, image.placed.size)
        if widened:
            where = f'{image.img_id}, box {number} ({box.label})'
            report.add('box_widened', where, f'{box.ltrb}, now {corners} in VOC')
        node = ET.SubElement(root, 'object')
        put(node, name=box.label, pose='Unspecified')
        put(node, truncated=int(box.truncated), difficult=int(box.difficult))
        names = ('xmin', 'ymin', 'xmax', 'ymax')
        put(ET.SubElement(node, 'bndbox'), **dict(zip(names, corners, strict=True)))
    ET.indent(root, '\t')
    return ET.tostring(root, encoding='utf-8') + b'\n'


def _report_truncated(images: Sequence[FinalImage], report: ImportReport) -> None:
    truncated = sum(box.truncated for image in images for box in image.boxes)
    if truncated:
        report.add('field_not_carried', 'truncated', f'of {truncated} objects')


def write_coco(
    out: OutFolder,
    images: Sequence[FinalImage],
    splits: Mapping[str, Sequence[str]],
    classes: Sequence[str],
    report: ImportReport,
) -> None:
    """Write ``annotations/instances_{split}.json``, with ids from 1 on.

    Args:
        out (OutFolder): Folder of the set; images are in it.
        images (Sequence[:obj:`FinalImage`]): All images; those of several splits keep their id.
        splits (Mapping[str, Sequence[str]]): Name of each split to its ids.
        classes (Sequence[str]): Class names in order.
        report (ImportReport): Gets flags that COCO does not have.
    """
    categories = [dict(id=k, name=name, supercategory='') for k, name in enumerate(classes, 1)]
    category = {name: k for k, name in enumerate(classes, 1)}
    entries, objects, total = {}, {}, 0
    for number, image in enumerate(images, 1):
        width, height = image.placed.size
        name = image.placed.file_name
        entries[image.img_id] = dict(id=number, file_name=name, width=width, height=height)
        objects[image.img_id] = []
        for box in image.boxes:
            total += 1
            edges = _edges(box)
            objects[image.img_id].append(
                dict(
                    id=total,
                    image_id=number,
                    category_id=category[box.label],
                    bbox=list(edges.ltwh),
                    area=edges.area,
                    iscrowd=int(box.difficult),
                    segmentation=[],
                )
            )
    _report_truncated(images, report)
    for split, ids in splits.items():
        content = dict(
            info=dict(description='imported data set'),
            images=[entries[img_id] for img_id in ids],
            annotations=[entry for img_id in ids for entry in objects[img_id]],
            categories=categories,
        )
        text = json.dumps(content, ensure_ascii=False, allow_nan=False)
        out.write(f'annotations/instances_{split}.json', text.encode())


def write_yolo(
    out: OutFolder,
    images: Sequence[FinalImage],
    splits: Mapping[str, Sequence[str]],
    classes: Sequence[str],
    report: ImportReport,
) -> None:
    """Write ``labels``, a list of images for each split, and ``data.yaml``.

    Args:
        out (OutFolder): Folder of the set; images are in it.
        images (Sequence[:obj:`FinalImage`]): All images, without difficult boxes.
        splits (Mapping[str, Sequence[str]]): Name of each split to its ids.
        classes (Sequence[str]): Class names in order.
        report (ImportReport): Gets flags that YOLO does not have.
    """
    number = {name: k for k, name in enumerate(classes)}
    files = {}
    for image in images:
        files[image.img_id] = image.placed.file_name
        lines = [
            _edges(box).to_yolo_v5(image_size=image.placed.size, label_to_id=number)
            for box in image.boxes
        ]
        out.write_lines(f'labels/{image.img_id}.txt', lines)
    _report_truncated(images, report)
    for split, ids in splits.items():
        out.write_lines(f'{split}.txt', [f'./images/{files[img_id]}' for img_id in ids])
    content = {split: f'{split}.txt' for split in splits}
    content['names'] = dict(enumerate(classes))
    text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
    out.write('data.yaml', text.encode())
