# SPDX-License-Identifier: Apache-2.0
"""The lines of a config that reads an imported set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from .report import REPORT_NAME

__all__ = ['config_lines']

_DATASETS = """data_root = {root!r}
classes = {classes}

dataset = dict(dataset=dict(data_root=data_root, metainfo=dict(classes=classes)))
train_dataloader = {train}
val_dataloader = {val}
test_dataloader = {test}
model = dict(bbox_head=dict(num_classes=len(classes)))
"""
_OTHER_LIST = """dict(
    dataset=dict(dataset['dataset'], ann_file='ImageSets/Main/{split}.txt')
)"""


def config_lines(
    root: Path,
    classes: Sequence[str],
    splits: Iterable[str],
    target_format: str,
    empty: Sequence[str] = (),
    can_draw: bool = True,
) -> str:
    """Write the part of a config that names data and classes; ``docs/own_data.md`` has the rest.

    Args:
        root (Path): Folder of the set.
        classes (Sequence[str]): Class names in order.
        splits (Iterable[str]): Names of the splits that have images.
        target_format (str): Format of the set.
        empty (Sequence[str]): Names of the others. Defaults to none.
        can_draw (bool): Whether splits may be drawn: the source has none of its own. Defaults to
            True.

    Returns:
        str: Python lines; for other formats than VOC only root and classes.

    Example:
        >>> print(config_lines(Path('/data/x'), ['a b'], ['train', 'val'], 'coco'), end='')
        data_root = '/data/x'
        classes = ('a b',)
    """
    names = f'({", ".join(map(repr, classes))}{"," if len(classes) == 1 else ""})'
    splits = list(splits)
    train = _split_for('train', splits)
    val = _split_for('val', splits) or _split_for('test', splits)
    test = _split_for('test', splits) or val
    # the configs that these lines are for read train.txt, and val.txt twice
    loaders = {
        name: 'dataset' if split in (None, usual) else _OTHER_LIST.format(split=split)
        for name, split, usual in (
            ('train', train, 'train'),
            ('val', val, 'val'),
            ('test', test, 'val'),
        )
    }
    text = _DATASETS.format(root=str(root), classes=names, **loaders)
    if target_format != 'voc':
        return text.split('\n\n')[0] + '\n'
    missing = [name for name, split in (('train', train), ('val', val)) if split is None]
    notes = ''
    if empty:
        notes += f'# No image is left of {" and ".join(empty)}: {REPORT_NAME} tells why.\n'
    if missing:
        way = 'draw one with --split' if can_draw else 'add one to the source'
        notes += (
            f'# There is no split for {" and ".join(missing)}: {way}, or name its list as '
            'ann_file.\n'
        )
    return notes + text


def _split_for(role: str, splits: Sequence[str]) -> str | None:
    """The split of that name, or one whose name begins with it, such as COCO's val2017."""
    if role in splits:
        return role
    return next((name for name in splits if name.startswith(role)), None)
