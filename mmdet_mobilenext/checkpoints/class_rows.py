# SPDX-License-Identifier: Apache-2.0
"""Take a detector of many classes to some of them, by the rows of its prediction layers.

A detector trained on COCO knows all of VOC's twenty classes. Its rows for them are a better start
than random ones, and than what the other sixty classes leave over. The first to do so for SSD is
Liu et al., https://arxiv.org/abs/1512.02325, section 3.3 (COCO, then VOC).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from mmdet.datasets import CocoDataset, VOCDataset
from torch import Tensor

__all__ = ['CLASS_SETS', 'select_classes']

CLASS_SETS = {
    'voc': VOCDataset.METAINFO['classes'],
    'coco': CocoDataset.METAINFO['classes'],
}

# The seven classes of VOC that COCO has under another name.
SYNONYMS = {
    'aeroplane': 'airplane',
    'diningtable': 'dining table',
    'motorbike': 'motorcycle',
    'pottedplant': 'potted plant',
    'sofa': 'couch',
    'tvmonitor': 'tv',
}
SYNONYMS |= {other: name for name, other in SYNONYMS.items()}

_PREDICTION = re.compile(r'bbox_head\.cls_convs\.\d+\.(\d+)\.(weight|bias)')


def select_classes(
    state_dict: Mapping[str, Tensor], old: Sequence[str], new: Sequence[str]
) -> dict[str, Tensor]:
    """Take the rows of some classes, and of the background if there is one, in a new order.

    Args:
        state_dict (Mapping[str, Tensor]): Weights of an SSDLite detector of this project, whose
            class scores have shape (priors * (classes + 1), ...), background last, or, trained
            with the focal loss, (priors * classes, ...). Which of them, the rows of the box offsets
            tell, which are four for each prior.
        old (Sequence[str]): Its classes, in order.
        new (Sequence[str]): Classes wanted, in order. VOC's and COCO's names for the same thing
            are the same class.

    Returns:
        dict[str, Tensor]: All weights, those of the class scores with the new rows.

    Raises:
        ValueError: If a class is not among the old ones or is given twice, or no layer has scores
            of the old ones, with or without a background.

    Example:
        >>> import torch
        >>> weights = {'bbox_head.cls_convs.0.0.bias': torch.arange(4.0)}
        >>> select_classes(weights, ['cat', 'airplane', 'dog'], ['aeroplane', 'cat'])
        {'bbox_head.cls_convs.0.0.bias': tensor([1., 0., 3.])}
    """
    missing = [name for name in new if name not in old and SYNONYMS.get(name) not in old]
    if missing or not new:
        raise ValueError(
            f'these classes are not among those of the detector: {missing or "none was given"}; it '
            f'has {list(old)}'
        )
    twice = sorted({name for name in new if list(new).count(name) > 1 or SYNONYMS.get(name) in new})
    if twice:
        raise ValueError(f'these classes are asked for twice: {twice}')
    rows = [old.index(name if name in old else SYNONYMS[name]) for name in new]
    selected = dict(state_dict)
    found = 0
    last = _last_layers(state_dict)
    for key, value in state_dict.items():
        if key.rpartition('.')[0] not in last:
            continue
        outputs = _outputs(state_dict, key, len(old))
        kept = rows if outputs == len(old) else [*rows, len(old)]
        per_prior = value.reshape(-1, outputs, *value.shape[1:])[:, kept]
        selected[key] = per_prior.reshape(-1, *value.shape[1:]).clone()
        found += 1
    if not found:
        raise ValueError(
            'no layer predicts classes: expected keys such as bbox_head.cls_convs.0.1.weight, '
            f'found {list(state_dict)[:3]}'
        )
    return selected


def _outputs(state_dict: Mapping[str, Tensor], key: str, num_classes: int) -> int:
    """Scores of each prior in a layer: the classes, with or without the background."""
    rows = len(state_dict[key])
    boxes = state_dict.get(key.replace('.cls_convs.', '.reg_convs.'))
    possible = (num_classes + 1, num_classes)
    if boxes is None:
        fitting = [n for n in possible if rows % n == 0]
    else:
        fitting = [n for n in possible if rows * 4 == len(boxes) * n]
    if len(fitting) == 1:
        return fitting[0]
    priors = 'any number of' if boxes is None else f'{len(boxes) / 4:g}'
    raise ValueError(
        f'{key} has {rows} rows, which {"may be" if fitting else "are not"} those of {num_classes} '
        f'classes with or without a background, for {priors} priors'
        + (': the layer of the box offsets, which would tell, is missing' if fitting else '')
    )


def _last_layers(state_dict: Mapping[str, Tensor]) -> set[str]:
    """Module names of the layers that give scores: the last one of each level."""
    last: dict[str, int] = {}
    for match in filter(None, map(_PREDICTION.fullmatch, state_dict)):
        level = match.string.rsplit('.', 2)[0]
        last[level] = max(last.get(level, 0), int(match[1]))
    return {f'{level}.{index}' for level, index in last.items()}
