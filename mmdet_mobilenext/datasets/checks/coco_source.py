# SPDX-License-Identifier: Apache-2.0
"""Where COCO-format data sets lie."""

from __future__ import annotations

import os.path as osp
import shlex
from dataclasses import dataclass

__all__ = ['COCO_CLASSES', 'CocoSource']

#: The class names of ``mmdet.datasets.CocoDataset``, in its order.
COCO_CLASSES = (
    'person', 'bicycle', 'car', 'motorcycle', 'airplane', 'bus', 'train', 'truck', 'boat',
    'traffic light', 'fire hydrant', 'stop sign', 'parking meter', 'bench', 'bird', 'cat', 'dog',
    'horse', 'sheep', 'cow', 'elephant', 'bear', 'zebra', 'giraffe', 'backpack', 'umbrella',
    'handbag', 'tie', 'suitcase', 'frisbee', 'skis', 'snowboard', 'sports ball', 'kite',
    'baseball bat', 'baseball glove', 'skateboard', 'surfboard', 'tennis racket', 'bottle',
    'wine glass', 'cup', 'fork', 'knife', 'spoon', 'bowl', 'banana', 'apple', 'sandwich',
    'orange', 'broccoli', 'carrot', 'hot dog', 'pizza', 'donut', 'cake', 'chair', 'couch',
    'potted plant', 'bed', 'dining table', 'toilet', 'tv', 'laptop', 'mouse', 'remote',
    'keyboard', 'cell phone', 'microwave', 'oven', 'toaster', 'sink', 'refrigerator', 'book',
    'clock', 'vase', 'scissors', 'teddy bear', 'hair drier', 'toothbrush',
)  # fmt: skip


@dataclass(frozen=True)
class CocoSource:
    """Where one COCO-format data set lies, with all paths joined.

    Args:
        data_root (str): Root that the other paths were joined with, for messages only.
        ann_file (str): Path of the json file.
        img_dir (str, optional): Folder that its file names are relative to. None where the config
            has no ``data_prefix.img``, which ``mmdet.datasets.CocoDataset`` needs.
        classes (tuple[str]): Known class names. Defaults to :data:`COCO_CLASSES`.
        role (str): ``'train'``, ``'val'`` or ``'test'``, several joined by ``'+'``, or ``''``.
            Defaults to ``''``.

    Example:
        >>> from mmdet_mobilenext.datasets.checks import CocoSource
        >>> root = 'data/coco'
        >>> file = f'{root}/annotations/instances_val2017.json'
        >>> source = CocoSource(root, file, f'{root}/val2017', role='val')
        >>> source.title
        'val instances_val2017'
    """

    data_root: str
    ann_file: str
    img_dir: str | None
    classes: tuple[str, ...] = COCO_CLASSES
    role: str = ''

    @property
    def title(self) -> str:
        """Short name, such as ``'train instances_train2017'``."""
        return f'{self.role} {osp.splitext(osp.basename(self.ann_file))[0]}'.strip()

    @property
    def command(self) -> str:
        """Shell command that checks this data set in full."""
        args = ['--data-root', self.img_dir or '.', '--split', self.ann_file]
        if self.classes != COCO_CLASSES:
            args += ['--classes', *self.classes]
        return f'python tools/check_voc.py {shlex.join(args)}'

    def image(self, name: str) -> str:
        """Path of an image, as MMDetection joins it.

        Args:
            name (str): Its ``file_name``.
        """
        return osp.join(self.img_dir or '', name)
