# SPDX-License-Identifier: Apache-2.0
"""Do data and head of a config have the same number of classes?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS, init_default_scope

from mmdet_mobilenext.datasets.checks import VOCSource, sources_from_config

from .environment import OptionError

__all__ = ['check_num_classes', 'classes_of_data']


def check_num_classes(cfg: Config, roles: Sequence[str]) -> None:
    """Compare the classes of the data sets with those of the head.

    Nothing is read but lists of class names. Detectors whose classes come from a text are passed
    over, and so are data sets that learn their classes from the annotations.

    Args:
        cfg (Config): Config of the run.
        roles (Sequence[str]): Data loaders to look at.

    Raises:
        DataCheckError: If the classes of a VOC or COCO data set are no list of names.
        OptionError: If a data set has another number of classes than the head, or the heads of a
            cascade differ.

    Example:
        >>> coco = dict(type='mmdet.CocoDataset', metainfo=dict(classes=('cat', 'dog')))
        >>> cfg = Config(dict(
        ...     model=dict(bbox_head=dict(num_classes=80)),
        ...     train_dataloader=dict(dataset=dict(type='RepeatDataset', dataset=coco))))
        >>> check_num_classes(cfg, ('train',))
        Traceback (most recent call last):
        ...
        mmdet_mobilenext.engine.environment.OptionError: the head has num_classes=80, but the data \
set train CocoDataset has 2 classes ('cat', 'dog'): set num_classes of bbox_head and \
metainfo.classes alike
    """
    num_classes = _of_heads(cfg.get('model') or {})
    if num_classes is None:
        return
    for title, classes in classes_of_data(cfg, roles):
        if len(classes) != num_classes:
            shown = str(classes) if len(classes) <= 20 else f'({classes[0]!r}, ...)'
            raise OptionError(
                f'the head has num_classes={num_classes}, but the data set {title} has '
                f'{len(classes)} classes {shown}: set num_classes of bbox_head and '
                'metainfo.classes alike'
            )


def _of_heads(model: Mapping) -> int | None:
    """The number of the head, or of all heads of a cascade; None if no head says one."""
    if 'language_model' in model:
        return None
    heads = model.get('bbox_head') or (model.get('roi_head') or {}).get('bbox_head') or []
    heads = [heads] if isinstance(heads, Mapping) else heads
    numbers = [h['num_classes'] for h in heads if isinstance(h, Mapping) and 'num_classes' in h]
    if len(set(numbers)) > 1:
        raise OptionError(
            f'the heads of the cascade have num_classes={numbers}: set num_classes of every '
            'roi_head.bbox_head alike'
        )
    return numbers[0] if numbers else None


def classes_of_data(cfg: Config, roles: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Name and classes of the data sets that tell them.

    Args:
        cfg (Config): Config of a run; only read.
        roles (Sequence[str]): Of ``'train'``, ``'val'`` and ``'test'``.

    Yields:
        tuple[str, tuple[str, ...]]: What the data set is called in messages, and its class names.
    """
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    for source in sources_from_config(cfg, roles):
        if isinstance(source, VOCSource) and not source.not_checked:
            yield source.title, source.classes
    for role in roles:
        loader = cfg.get(f'{role}_dataloader')
        for leaf in _leaves(loader.get('dataset') if isinstance(loader, Mapping) else None):
            kind = leaf['type']
            if isinstance(kind, str):
                with DATASETS.switch_scope_and_registry(None) as registry:
                    kind = registry.get(kind)
            if not (isinstance(kind, type) and issubclass(kind, BaseDataset)):
                continue
            info = kind._load_metainfo(leaf.get('metainfo'))
            # a panoptic set has stuff as well, which is no business of the boxes
            classes = info.get('thing_classes') or info.get('classes')
            if isinstance(classes, Sequence) and not isinstance(classes, str):
                yield f'{role} {kind.__name__} {leaf.get("ann_file", "")}'.strip(), tuple(classes)


def _leaves(node: Any) -> Iterator[Mapping]:
    """Configs of data sets behind those that join, repeat or mix others."""
    if not isinstance(node, Mapping):
        return
    inner = node.get('datasets') or ([node['dataset']] if 'dataset' in node else [])
    if inner:
        for part in inner:
            yield from _leaves(part)
    elif 'type' in node:
        yield node
