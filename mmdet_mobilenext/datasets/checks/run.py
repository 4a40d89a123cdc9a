# SPDX-License-Identifier: Apache-2.0
"""Check all data sets of a run, each once."""

from __future__ import annotations

import logging
import os.path as osp
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .coco import check_coco
from .coco_files import common_images
from .coco_source import CocoSource
from .report import CheckReport, DataCheckError
from .sources import ROLES, VOCSource, sources_from_config
from .voc import check_voc

__all__ = ['check_dataset_cfgs', 'check_sources']

_OPTIONS = dict(decode='sample', sample_size=64, seed=0, unknown_classes='error', max_problems=20)


def check_dataset_cfgs(
    cfg: Mapping, roles: Sequence[str] = ROLES, progress: bool = False, **options: Any
) -> CheckReport:
    """Check every data set that a run will read, each once.

    The config may hold ``data_check = dict(unknown_classes=..., decode=..., sample_size=...)``;
    ``data_check = None`` or ``False`` switches the check off, which is logged as a warning. So
    are the warnings of the report.

    Args:
        cfg (Mapping): ``mmengine.Config`` of the run.
        roles (Sequence[str]): Which dataloaders. Defaults to ``('train', 'val', 'test')``.
        progress (bool): Show a progress bar while decoding. Defaults to False.
        **options: ``decode``, ``sample_size``, ``seed``, ``unknown_classes`` and
            ``max_problems`` of :func:`check_voc` and :func:`check_coco`. They win over
            ``cfg.data_check``; ``decode`` defaults to ``'sample'``.

    Returns:
        CheckReport: Call its ``raise_if_bad()``.

    Raises:
        DataCheckError: An option or a config value that cannot be used.

    Example:
        >>> from mmdet_mobilenext.datasets.checks import check_dataset_cfgs
        >>> leaf = dict(type='VOCDataset', data_root='nowhere', ann_file='train.txt',
        ...             data_prefix=dict(sub_data_root='VOC2007/'))
        >>> report = check_dataset_cfgs(dict(train_dataloader=dict(dataset=leaf)))
        >>> report.num_problems
        {'no_data_root': 1}
    """
    logger = logging.getLogger(__package__)
    chosen = cfg.get('data_check', {})
    if chosen is None or chosen is False:
        message = (
            f'THE DATA CHECK IS SWITCHED OFF (data_check = {chosen}): missing or broken files '
            'will be found only when training or testing reads them.'
        )
        logger.warning(message)
        return CheckReport('switched off', warnings=[message])
    if chosen is True:
        chosen = {}
    if not isinstance(chosen, Mapping) or not set(chosen) <= set(_OPTIONS):
        raise DataCheckError(
            f'`data_check` must be a dict with keys of {list(_OPTIONS)}, or None or False to '
            f'switch the check off, got {chosen!r}'
        )
    report = check_sources(
        sources_from_config(cfg, roles), progress=progress, **{**_OPTIONS, **chosen, **options}
    )
    for warning in report.warnings:
        logger.warning(warning)
    return report


def check_sources(sources: Sequence[VOCSource | CocoSource], **options: Any) -> CheckReport:
    """Check several data sets, each distinct one once, and compare training with test lists.

    Args:
        sources (Sequence[:obj:`VOCSource` | :obj:`CocoSource`]): Data sets. Those that differ in
            nothing but their role are checked once.
        **options: Those of :func:`check_voc` and :func:`check_coco`.

    Returns:
        CheckReport: With a part for each distinct data set. An id in a training and in a
        validation or test list of the same folder is a warning; of COCO-format sets, an image
        file in both, also as a copy of the same name and number of bytes in another folder.

    Raises:
        DataCheckError: An option that cannot be used.
    """
    distinct: dict[VOCSource | CocoSource, tuple[VOCSource | CocoSource, list[str]]] = {}
    for source in sources:
        folder = 'img_dir' if isinstance(source, CocoSource) else 'sub_data_root'
        places = {name: getattr(source, name) for name in ('ann_file', folder)}
        places = {name: path and osp.abspath(path) for name, path in places.items()}
        key = replace(source, data_root='', role='', **places)
        distinct.setdefault(key, (source, []))[1].append(source.role)
    parts, checked = [], []
    for source, roles in distinct.values():
        source = replace(source, role='+'.join(dict.fromkeys(roles)))
        checked.append(source)
        check = check_coco if isinstance(source, CocoSource) else check_voc
        parts.append(check(source, **options))
    report = CheckReport.merge(parts, options.get('max_problems', _OPTIONS['max_problems']))
    report.warnings += _leakage(checked, parts)
    if not sources:
        report.warnings.append('no data set was given, nothing was checked')
    return report


def _leakage(sources: Sequence[VOCSource | CocoSource], parts: Sequence[CheckReport]) -> list[str]:
    """Warn of ids or images that are both trained on and tested on."""
    pairs = list(zip(sources, parts, strict=True))
    warnings = []
    for train, train_part in pairs:
        for test, test_part in pairs:
            held_out = {'val', 'test'}.intersection(test.role.split('+'))
            if 'train' not in train.role.split('+') or not held_out:
                continue
            common = _common(train, train_part.ids, test, test_part.ids)
            if common:
                what = 'images' if isinstance(test, CocoSource) else 'ids'
                names = ', '.join(common[:5]) + (', ...' if len(common) > 5 else '')
                warnings.append(
                    f'{len(common)} {what} are both in the training list {train.ann_file} and in '
                    f'the {"+".join(sorted(held_out))} list {test.ann_file}, so the metric says '
                    f'too much: {names}'
                )
    return warnings


def _common(
    train: VOCSource | CocoSource,
    train_ids: Sequence[str],
    test: VOCSource | CocoSource,
    test_ids: Sequence[str],
) -> list[str]:
    """Ids, or file names, of the images that two data sets share."""
    if isinstance(train, CocoSource) and isinstance(test, CocoSource):
        return common_images(train, train_ids, test, test_ids)
    if isinstance(train, CocoSource) or isinstance(test, CocoSource):
        return []
    if osp.abspath(train.sub_data_root) != osp.abspath(test.sub_data_root):
        return []
    return sorted(set(train_ids).intersection(test_ids))
