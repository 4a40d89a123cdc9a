# SPDX-License-Identifier: Apache-2.0
"""The archives of PASCAL VOC that the configs need."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ['VOC_ARCHIVES', 'VocArchive']


@dataclass(frozen=True)
class VocArchive:
    """An archive that holds ``VOCdevkit/VOC{year}``, or a part of it.

    Attributes:
        year (int): 2007 or 2012.
        split (str): ``ImageSets/Main/{split}.txt`` names its images.
        name (str): File name.
        md5 (str): MD5 of the file, 32 hexadecimal digits.
        size (int): Size of the file in bytes; unpacked it is about the same.
        num_images (int): Images of the split.
        lists (tuple[str]): Lists of ``ImageSets/Main`` that it provides, ``split`` among them.
        urls (tuple[str]): Addresses, tried in turn.

    Example:
        >>> VOC_ARCHIVES[0].title, VOC_ARCHIVES[0].num_images
        ('VOC2007 trainval', 5011)
    """

    year: int
    split: str
    name: str
    md5: str
    size: int
    num_images: int
    lists: tuple[str, ...]
    urls: tuple[str, ...]

    @property
    def title(self) -> str:
        """str: Year and split, for messages."""
        return f'VOC{self.year} {self.split}'

    @property
    def folder(self) -> str:
        """str: Its folder in ``VOCdevkit``."""
        return f'VOC{self.year}'


def _mirrors(year: int, name: str) -> tuple[str, ...]:
    return (
        f'http://host.robots.ox.ac.uk/pascal/VOC/voc{year}/{name}',
        f'https://thor.robots.ox.ac.uk/pascal/VOC/voc{year}/{name}',
        f'https://data.pjreddie.com/files/{name}',
        f'https://pjreddie.com/media/files/{name}',
    )


def _archive(
    year: int, split: str, name: str, md5: str, size: int, num_images: int, lists: tuple[str, ...]
) -> VocArchive:
    return VocArchive(year, split, name, md5, size, num_images, lists, _mirrors(year, name))


VOC_ARCHIVES = (
    _archive(
        2007,
        'trainval',
        'VOCtrainval_06-Nov-2007.tar',
        'c52e279531787c972589f7e41ab4ae64',
        460_032_000,
        5011,
        ('train', 'val', 'trainval'),
    ),
    _archive(
        2007,
        'test',
        'VOCtest_06-Nov-2007.tar',
        'b6e924de25625d8de591ea690078ad9f',
        451_020_800,
        4952,
        ('test',),
    ),
    _archive(
        2012,
        'trainval',
        'VOCtrainval_11-May-2012.tar',
        '6cd6e144f989b92b3379bac3b3de84fd',
        1_999_639_040,
        11540,
        ('train', 'val', 'trainval'),
    ),
)
