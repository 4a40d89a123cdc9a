# SPDX-License-Identifier: Apache-2.0
"""Fingerprints of what decides a result: config, data and code.

Runs are only compared, and a folder is only gone on with, if these agree.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import os.path as osp
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mmcv
import mmdet
import mmengine
import numpy as np
import torch
from mmdet.registry import DATASETS
from mmengine.config import Config, ConfigDict

import mmdet_mobilenext
from mmdet_mobilenext.checksum import sha256_of
from mmdet_mobilenext.registry import SCOPE

from .errors import BenchmarkError

__all__ = [
    'code_fingerprint',
    'config_digest',
    'data_classes',
    'data_fingerprint',
    'differences',
    'drop_scopes',
    'file_digests',
    'flatten_config',
    'holds_dict',
    'listed',
]

# Not part of what a config asks for: where it is run, and where the data lies (its content has a
# fingerprint of its own).
_NOT_COMPARED = ('work_dir', 'launcher', 'data_root', 'resume')
# Rooms whose code decides neither weights nor predictions, since all they do is done again each
# time; but for these files.
_REPEATED = ('benchmark', 'evaluation')
_DONE_ONCE = (
    'benchmark/one_run.py',
    'benchmark/folder.py',
    'evaluation/detection_metric.py',
    'evaluation/exported_detector.py',
    'evaluation/records.py',
)


def flatten_config(cfg: Mapping | Config) -> dict[str, str]:
    """All leaves of a config by their path.

    Args:
        cfg (Mapping | Config): Config of a run.

    Returns:
        dict[str, str]: ``repr`` of each leaf; without ``work_dir``, ``launcher``, ``resume``,
            every ``data_root``, and what :func:`drop_scopes` drops.

    Example:
        >>> flatten_config(Config(dict(model=dict(type='A', sizes=[1, 2]), work_dir='x')))
        {'model.sizes': '[1, 2]', 'model.type': "'A'"}
    """
    leaves: dict[str, str] = {}

    def visit(node: Any, path: str) -> None:
        if isinstance(node, dict) and node:
            for key, value in node.items():
                if key not in _NOT_COMPARED:
                    visit(value, f'{path}.{key}' if path else str(key))
        elif isinstance(node, (list, tuple)) and holds_dict(node):
            for index, value in enumerate(node):
                visit(value, f'{path}.{index}')
        else:
            # a sequence is the same whether it is written as a list or as a tuple
            leaves[path] = repr(listed(node))

    visit(drop_scopes(cfg), '')
    return dict(sorted(leaves.items()))


def holds_dict(value: Any) -> bool:
    """Whether a value is a mapping or a sequence that has one inside.

    Example:
        >>> holds_dict([[dict(type='A')]]), holds_dict([1, 2])
        (True, False)
    """
    if isinstance(value, (list, tuple)):
        return any(holds_dict(item) for item in value)
    return isinstance(value, Mapping)


def listed(value: Any) -> Any:
    """A value with lists for tuples, inside as well.

    Example:
        >>> listed(dict(sizes=((1, 2), 3)))
        {'sizes': [[1, 2], 3]}
    """
    if isinstance(value, Mapping):
        return {key: listed(item) for key, item in value.items()}
    return [listed(item) for item in value] if isinstance(value, (list, tuple)) else value


def drop_scopes(cfg: Mapping | Config) -> dict[str, Any]:
    """A config without each ``_scope_`` that changes no class.

    mmengine writes it into what is inherited through ``package::``.

    Args:
        cfg (Mapping | Config): Config of a run; ``default_scope`` defaults to ``'mmdet'``.

    Returns:
        dict: A copy. A ``_scope_`` of another package stays.

    Example:
        >>> drop_scopes(dict(model=dict(type='MobileNeXt', _scope_='mmdet_mobilenext')))
        {'model': {'type': 'MobileNeXt'}}
    """
    default = cfg.get('default_scope') or 'mmdet'
    # the registries of this package's scope are empty and look in those of mmdet
    same = {None, default, *((SCOPE, 'mmdet') if default in (SCOPE, 'mmdet') else ())}

    def visit(node: Any) -> Any:
        if isinstance(node, Mapping):
            return {k: visit(v) for k, v in node.items() if k != '_scope_' or v not in same}
        return type(node)(map(visit, node)) if type(node) in (list, tuple) else node

    return visit(cfg.to_dict() if isinstance(cfg, Config) else cfg)


def config_digest(cfg: Mapping | Config) -> str:
    """Fingerprint of a config.

    Args:
        cfg (Mapping | Config): Config of a run.

    Returns:
        str: 16 hexadecimal digits.

    Example:
        >>> config_digest(dict(a=1, work_dir='x')) == config_digest(dict(a=1, work_dir='y'))
        True
    """
    return hashlib.sha256(repr(flatten_config(cfg)).encode()).hexdigest()[:16]


def differences(before: Mapping[str, Any], now: Mapping[str, Any], limit: int = 12) -> list[str]:
    """Say how two flat mappings differ.

    Args:
        before (Mapping): What was.
        now (Mapping): What is.
        limit (int): Differences to list. Defaults to 12.

    Returns:
        list[str]: A line for each difference, and one for those beyond the limit.

    Example:
        >>> differences(dict(lr=1, a=2), dict(lr=3, a=2, b=4))
        ['b: (absent) -> 4', 'lr: 1 -> 3']
    """
    absent = '(absent)'
    lines = [
        f'{key}: {before.get(key, absent)} -> {now.get(key, absent)}'
        for key in sorted({*before, *now})
        if before.get(key, absent) != now.get(key, absent)
    ]
    rest = len(lines) - limit
    return lines[:limit] + ([f'... and {rest} more'] if rest > 0 else [])


def file_digests(cfg: Config) -> dict[str, str]:
    """Fingerprints of the files that a config names: modules of its own, and weights to start from.

    Args:
        cfg (Config): Config of a run.

    Returns:
        dict[str, str]: By module or file, the first 16 hexadecimal digits of its SHA-256. Of a
            package only ``__init__.py`` is looked at.

    Example:
        >>> list(file_digests(Config(dict(custom_imports=dict(imports=['json'])))))
        ['custom_imports: json']
    """
    found = {}
    imports = (cfg.get('custom_imports') or {}).get('imports') or []
    for name in [imports] if isinstance(imports, str) else imports:
        origin = getattr(importlib.util.find_spec(name), 'origin', None)
        if name.split('.')[0] != mmdet_mobilenext.__name__ and origin and osp.isfile(origin):
            found[f'custom_imports: {name}'] = sha256_of(origin)[:16]

    def visit(node: Any) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                is_weights = key in ('checkpoint', 'load_from') and isinstance(value, str)
                if is_weights and osp.isfile(value):
                    found[f'weights: {value}'] = sha256_of(value)[:16]
                visit(value)
        elif isinstance(node, (list, tuple)):
            for value in node:
                visit(value)

    visit(cfg.to_dict())
    return found


def data_classes(cfg: Config) -> tuple[str, ...]:
    """Class names of the test set, as the data set itself says.

    Args:
        cfg (Config): Config of the run.

    Returns:
        tuple[str, ...]: Names in the order of the labels.
    """
    dataset = DATASETS.build(_without_transforms(cfg.test_dataloader.dataset))
    classes = dataset.metainfo.get('classes') or ()
    return (classes,) if isinstance(classes, str) else tuple(classes)


def code_fingerprint() -> dict[str, str]:
    """Versions of everything that decides weights and predictions.

    Of this package that is the content of its files but for the parts of the rooms ``benchmark``
    and ``evaluation`` that only read what the runs have left.

    Returns:
        dict[str, str]: ``package``, ``digest``, ``torch``, ``mmcv``, ``mmengine``, ``mmdet`` and
            ``numpy``.

    Example:
        >>> sorted(code_fingerprint())
        ['digest', 'mmcv', 'mmdet', 'mmengine', 'numpy', 'package', 'torch']
    """
    root = Path(mmdet_mobilenext.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob('*.py')):
        relative = path.relative_to(root)
        name = relative.as_posix()
        if relative.parts[0] not in _REPEATED or name in _DONE_ONCE:
            digest.update(name.encode() + b'\0' + path.read_bytes())
    return dict(
        package=mmdet_mobilenext.__version__,
        digest=digest.hexdigest()[:16],
        torch=torch.__version__,
        mmcv=mmcv.__version__,
        mmengine=mmengine.__version__,
        mmdet=mmdet.__version__,
        numpy=np.__version__,
    )


def data_fingerprint(cfg: Config, role: str) -> dict[str, Any]:
    """Count and fingerprint the data of a run: classes, image names, file sizes and objects.

    Pixels are not read. Transforms and loaders play no part, so that configs with different
    augmentation have the same data.

    Args:
        cfg (Config): Config of the run.
        role (str): ``'train'``, ``'val'`` or ``'test'``.

    Returns:
        dict: ``images``, ``objects`` (without difficult ones), ``difficult`` and ``digest``.

    Raises:
        BenchmarkError: If there is no such data set or it is empty.
    """
    loader = cfg.get(f'{role}_dataloader')
    if not loader or not loader.get('dataset'):
        raise BenchmarkError(f'{cfg.filename} has no {role}_dataloader.dataset')
    dataset = DATASETS.build(_without_transforms(loader.dataset))
    if not len(dataset):
        raise BenchmarkError(
            f'the {role} set of {cfg.filename} is empty: there is nothing to '
            f'{"learn from" if role == "train" else "compare on"}'
        )
    digest = hashlib.sha256(repr(dataset.metainfo.get('classes')).encode())
    objects = difficult = 0
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        path = str(info.get('img_path', ''))
        size = os.path.getsize(path) if osp.isfile(path) else -1
        boxes = []
        for instance in info.get('instances', ()):
            ignored = bool(instance.get('ignore_flag', 0))
            difficult += ignored
            objects += not ignored
            boxes.append(
                ([float(x) for x in instance['bbox']], int(instance['bbox_label']), ignored)
            )
        digest.update(repr((str(info.get('img_id')), osp.basename(path), size, boxes)).encode())
    return dict(
        images=len(dataset),
        objects=objects,
        difficult=difficult,
        digest=digest.hexdigest()[:16],
    )


def _without_transforms(dataset: ConfigDict) -> dict:
    """A copy of a data set's config, and of those inside it, that only lists its images."""

    def visit(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: [] if key == 'pipeline' else visit(value) for key, value in node.items()}
        if isinstance(node, (list, tuple)):
            return type(node)(visit(item) for item in node)
        return node

    return visit(dataset.to_dict() if hasattr(dataset, 'to_dict') else dict(dataset))
