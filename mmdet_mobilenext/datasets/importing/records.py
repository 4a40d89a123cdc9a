# SPDX-License-Identifier: Apache-2.0
"""A data set between two formats."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .report import ImportReport

__all__ = [
    'Box',
    'ImportDataError',
    'SourceImage',
    'SourceSet',
    'check_chosen',
    'clean_class_name',
]


class ImportDataError(ValueError):
    """A data set cannot be imported as it is."""


@dataclass(frozen=True)
class Box:
    """An object.

    Attributes:
        label (str): Class name.
        ltrb (tuple[float]): Left, top, right and bottom in pixels, 0-based; or in fractions of
            the image where its ``fractions`` is True.
        difficult (bool): VOC's difficult, COCO's crowd. Defaults to False.
        truncated (bool): VOC's truncated. Defaults to False.
    """

    label: str
    ltrb: tuple[float, float, float, float]
    difficult: bool = False
    truncated: bool = False


@dataclass
class SourceImage:
    """An image as the source tells of it.

    Attributes:
        name (str): Path in ``folder``, with ``/``.
        folder (Path): Folder of the images.
        path (Path): The file.
        size (tuple[int], optional): Annotated width and height, None if the source has none.
        boxes (list[:obj:`Box`]): Objects.
        fractions (bool): Whether boxes are fractions of the image. Defaults to False.
        img_id (str): Name in the result. Defaults to ``''``: not known yet.
    """

    name: str
    folder: Path
    path: Path
    size: tuple[int, int] | None
    boxes: list[Box]
    fractions: bool = False
    img_id: str = ''


@dataclass
class SourceSet:
    """Images, each once, and the splits that list them.

    Attributes:
        classes (tuple[str]): Class names in order.
        images (list[:obj:`SourceImage`]): All images.
        splits (dict[str, dict[str, :obj:`SourceImage`]]): Members of each split by path; a split
            of the name ``''`` holds images of a source without splits.

    Example:
        >>> from mmdet_mobilenext.datasets.importing.report import ImportReport
        >>> known = SourceSet(('cat',))
        >>> image = SourceImage('a.jpg', Path('images'), Path('images/a.jpg'), (4, 3), [])
        >>> known.add('train', image, ImportReport())
        >>> [image.name for image in known.splits['train'].values()]
        ['a.jpg']
    """

    classes: tuple[str, ...]
    images: list[SourceImage] = field(default_factory=list)
    splits: dict[str, dict[str, SourceImage]] = field(default_factory=dict)
    _by_path: dict[str, SourceImage] = field(default_factory=dict, repr=False)

    def add(self, split: str, image: SourceImage, report: ImportReport) -> None:
        """Put an image into a split; a file that is there already stays one image."""
        path = os.path.abspath(image.path)
        known = self._by_path.get(path)
        if known is None:
            known = self._by_path[path] = image
            self.images.append(image)
        elif known is not image:
            lost = dict(images=1, boxes=len(image.boxes))
            if (known.boxes, known.size) == (image.boxes, image.size):
                report.add('image_listed_again', image.name, f'in {split or "the list"}', **lost)
            else:
                detail = 'other boxes or another size than where it is listed first'
                report.add('image_annotated_twice', image.name, detail, **lost)
        self.splits.setdefault(split, {})[path] = known


def check_chosen(classes: Sequence[str] | None, found: Sequence[str]) -> None:
    """Refuse chosen classes that the source does not name.

    Args:
        classes (Sequence[str], optional): Chosen classes; None stands for all.
        found (Sequence[str]): Classes of the source.

    Raises:
        ImportDataError: If one is missing; it names both.

    Example:
        >>> check_chosen(('dog',), ['cat', 'dog'])
    """
    missing = [name for name in classes or () if name not in found]
    if missing:
        raise ImportDataError(f'the source has no classes {missing}; it has {list(found)}')


def clean_class_name(name: object, source: str, report: ImportReport) -> str:
    """Make a class name one line without spaces around it.

    Args:
        name (object): As it stands in the source.
        source (str): Where, for messages.
        report (ImportReport): Gets a changed name.

    Returns:
        str: The name.

    Raises:
        ImportDataError: If it is empty or has characters that XML cannot hold.

    Example:
        >>> from mmdet_mobilenext.datasets.importing.report import ImportReport
        >>> clean_class_name(' fire  engine', 'names.txt', ImportReport())
        'fire engine'
    """
    clean = ' '.join(str(name).split())
    if name is None or not clean or not clean.isprintable():
        raise ImportDataError(
            f'{source} has the class name {name!r}; a name is one line of printable characters'
        )
    if clean != name:
        report.add('class_renamed', f'{name!r}', f'now {clean!r}')
    return clean
