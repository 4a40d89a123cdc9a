# SPDX-License-Identifier: Apache-2.0
"""Check all data sets of a run, each once."""

from __future__ import annotations

import logging
import os.path as osp
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

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
            ``max_problems`` of :func:`check_voc`. They win over ``cfg.data_check``; ``decode``
            defaults to ``'sample'``.

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


def check_sources(sources: Sequence[VOCSource], **options: Any) -> CheckReport:
    """Check several data sets, each distinct one once, and compare training with test lists.

    Args:
        sources (Sequence[:obj:`VOCSource`]): Data sets. Those that differ in nothing but their
            role are checked once.
        **options: Those of :func:`check_voc`.

    Returns:
        CheckReport: With a part for each distinct data set. An id in a training and in a
        validation or test list of the same folder is a warning.

    Raises:
        DataCheckError: An option that cannot be used.
    """
    distinct: dict[VOCSource, tuple[VOCSource, list[str]]] = {}
    for source in sources:
        key = replace(
            source,
            data_root='',
            ann_file=osp.abspath(source.ann_file),
            sub_data_root=osp.abspath(source.sub_data_root),
            role='',
        )
        distinct.setdefault(key, (source, []))[1].append(source.role)
    parts, checked = [], []
    for source, roles in distinct.values():
        source = replace(source, role='+'.join(dict.fromkeys(roles)))
        checked.append(source)
        parts.append(check_voc(source, **options))
    report = CheckReport.merge(parts, options.get('max_problems', _OPTIONS['max_problems']))
    report.warnings += _leakage(checked, parts)
    if not sources:
        report.warnings.append('no data set was given, nothing was checked')
    return report


def _leakage(sources: Sequence[VOCSource], parts: Sequence[CheckReport]) -> list[str]:
    """Warn of ids that are both trained on and tested on."""
    pairs = list(zip(sources, parts, strict=True))
    warnings = []
    for train, train_part in pairs:
        for test, test_part in pairs:
            held_out = {'val', 'test'}.intersection(test.role.split('+'))
            same_folder = osp.abspath(train.sub_data_root) == osp.abspath(test.sub_data_root)
            if 'train' not in train.role.split('+') or not held_out or not same_folder:
                continue
            common = sorted(set(train_part.ids).intersection(test_part.ids))
            if common:
                names = ', '.join(common[:5]) + (', ...' if len(common) > 5 else '')
                warnings.append(
                    f'{len(common)} ids are both in the training list {train.ann_file} and in '
                    f'the {"+".join(sorted(held_out))} list {test.ann_file}, so the metric says '
                    f'too much: {names}'
                )
    return warnings
