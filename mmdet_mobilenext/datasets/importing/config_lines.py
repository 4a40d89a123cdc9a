# SPDX-License-Identifier: Apache-2.0
"""The lines of a config that reads an imported set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = ['config_lines']

_DATASETS = """data_root = {root!r}
classes = {classes}

dataset = dict(dataset=dict(data_root=data_root, metainfo=dict(classes=classes)))
train_dataloader = dataset
val_dataloader = dataset
test_dataloader = dataset
model = dict(bbox_head=dict(num_classes=len(classes)))
"""


def config_lines(
    root: Path, classes: Sequence[str], splits: Iterable[str], target_format: str
) -> str:
    """Write the part of a config that names data and classes; ``docs/own_data.md`` has the rest.

    Args:
        root (Path): Folder of the set.
        classes (Sequence[str]): Class names in order.
        splits (Iterable[str]): Names of the splits.
        target_format (str): Format of the set.

    Returns:
        str: Python lines; for other formats than VOC only root and classes.

    Example:
        >>> print(config_lines(Path('/data/x'), ['a b'], ['train', 'val'], 'coco'), end='')
        data_root = '/data/x'
        classes = ('a b',)
    """
    names = f'({", ".join(map(repr, classes))}{"," if len(classes) == 1 else ""})'
    text = _DATASETS.format(root=str(root), classes=names)
    if target_format != 'voc':
        return text.split('\n\n')[0] + '\n'
    if 'test' in splits:
        text = text.replace(
            'test_dataloader = dataset\n',
            "test_dataloader = dict(\n    dataset=dict(dataset['dataset'], "
            "ann_file='ImageSets/Main/test.txt')\n)\n",
        )
    return text
