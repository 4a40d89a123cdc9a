# SPDX-License-Identifier: Apache-2.0
"""ImageNet in folders, looked at before anything is read."""

from __future__ import annotations

import os.path as osp
from collections.abc import Sequence
from typing import Any

from mmpretrain.datasets import ImageNet
from mmpretrain.datasets.custom import find_folders
from mmpretrain.registry import DATASETS

from mmdet_mobilenext.datasets.checks import DataCheckError

__all__ = ['ImageNetFolder']


@DATASETS.register_module(force=True)
class ImageNetFolder(ImageNet):
    """mmpretrain's ``ImageNet`` that says at once what is missing.

    ``{data_root}/{split}`` holds a folder of images for each class; sorted by
    name they are classes 0, 1, ... With a list ``{data_root}/meta/{split}.txt``
    (a path and a class number a line) the images may lie anywhere below it.

    Args:
        data_root (str): Folder of the splits.
        split (str): ``'train'``, ``'val'`` or ``'test'``.
        needed_splits (Sequence[str]): Splits that must be there as well, for a
            training that would miss ``val`` only after it has listed ``train``.
            Defaults to ().
        **kwargs: Other arguments of ``ImageNet``. ``metainfo.classes`` are the
            1,000 of ImageNet by default.

    Raises:
        FileNotFoundError: If the folder of a split is not there.
        DataCheckError: If there are more or fewer folders than classes.

    Example:
        >>> from mmdet_mobilenext.classification import ImageNetFolder
        >>> ImageNetFolder('nowhere', 'train')
        Traceback (most recent call last):
        ...
        FileNotFoundError: no folder 'nowhere/train': set the environment variable ...
    """

    def __init__(
        self,
        data_root: str,
        split: str,
        needed_splits: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        for name in dict.fromkeys((split, *needed_splits)):
            folder = osp.join(data_root, name)
            if '://' not in data_root and not osp.isdir(folder):
                raise FileNotFoundError(
                    f'no folder {folder!r}: set the environment variable IMAGENET_ROOT, or '
                    '--cfg-options data_root=..., to the folder that holds ImageNet as train/ and '
                    f'val/ with a folder for each class (now {data_root!r})'
                )
        super().__init__(data_root=data_root, split=split, **kwargs)

    def _find_samples(self) -> list:
        folders = find_folders(self.img_prefix)[0] if self.with_label else []
        if self.with_label and len(folders) != len(self.CLASSES):
            raise DataCheckError(
                f'{self.img_prefix} has {len(folders)} folders, but there are '
                f'{len(self.CLASSES)} classes: it needs a folder of images for each class (the '
                'validation archive of ImageNet comes without), or a list '
                f'{osp.join(self.data_root, "meta")}/{{split}}.txt; for classes of your own set '
                'metainfo.classes of the data set'
            )
        return super()._find_samples()
