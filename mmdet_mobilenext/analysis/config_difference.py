# SPDX-License-Identifier: Apache-2.0
"""How two resolved configs differ, sorted by what that means for a comparison of the two."""

from __future__ import annotations

import inspect
import os.path as osp
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.runner._flexible_runner import FlexibleRunner

from mmdet_mobilenext.benchmark.fingerprint import drop_scopes, holds_dict, listed

__all__ = ['COMPARED', 'GROUPS', 'VARIABLES', 'Difference', 'compare_configs', 'must_be_equal']

COMPARED = 'what you compare'
VARIABLES = 'variables of the config files'
WEIGHTS = 'weights to start from'
OTHER = 'everything else that is run'
# The first pattern that fits a path tells its group; `*` stands for one name or number.
_PATTERNS = (
    ('model.backbone.init_cfg', WEIGHTS),
    ('model.backbone', COMPARED),
    ('model.neck', COMPARED),
    ('model.bbox_head.in_channels', COMPARED),
    ('model.rpn_head.in_channels', COMPARED),
    ('model.*.init_cfg', 'other parts of the model'),
    ('model.test_cfg', 'test settings'),
    ('model', 'other parts of the model'),
    ('load_from', WEIGHTS),
    ('optional_weights', WEIGHTS),
    ('train_dataloader.batch_size', 'batch and learning rate'),
    ('train_dataloader.sampler', 'batch and learning rate'),
    ('train_dataloader.batch_sampler', 'batch and learning rate'),
    ('train_dataloader.drop_last', 'batch and learning rate'),
    ('optim_wrapper.optimizer.lr', 'batch and learning rate'),
    ('optim_wrapper.accumulative_counts', 'batch and learning rate'),
    ('auto_scale_lr', 'batch and learning rate'),
    ('optim_wrapper', 'optimizer'),
    ('train_cfg', 'schedule'),
    ('param_scheduler', 'schedule'),
    ('randomness', 'seeds'),
    ('val_dataloader', 'test settings'),
    ('test_dataloader', 'test settings'),
    ('val_evaluator', 'test settings'),
    ('test_evaluator', 'test settings'),
    ('val_cfg', 'test settings'),
    ('test_cfg', 'test settings'),
    ('tta_model', 'test settings'),
    ('tta_pipeline', 'test settings'),
    ('generated_splits', 'training data'),
)
GROUPS = (
    COMPARED,
    'other parts of the model',
    WEIGHTS,
    'training data',
    'augmentation',
    'batch and learning rate',
    'optimizer',
    'schedule',
    'seeds',
    'test settings',
    OTHER,
    VARIABLES,
)
"""In the order of a report; all but the first and the last must be equal."""
# Where it is run and what it is called, which changes no result.
_NOT_COMPARED = ('work_dir', 'launcher', 'resume', 'experiment_name', 'log_level')
# Read by mmengine's runners and hooks out of the whole config, or by this project, besides the
# arguments of the runners.
_READ = (
    'activation_checkpointing',
    'compile',
    'crops',
    'custom_imports',
    'data_check',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'generated_splits',
    'init_weights_for_test_or_val',
    'model_wrapper_cfg',
    'optional_weights',
    'runner_type',
    'sync_bn',
    'tta_model',
    'tta_pipeline',
)
_RUN = {
    name for runner in (Runner, FlexibleRunner) for name in inspect.signature(runner).parameters
}.union(_READ)
# What belongs to the file that a backbone starts from.
_OF_A_FILE = ('model.backbone.init_cfg.checkpoint', 'model.backbone.init_cfg.prefix')
ABSENT = '(absent)'


@dataclass(frozen=True)
class Difference:
    """A place where two configs differ.

    Attributes:
        path (str): Such as ``'train_dataloader.batch_size'``; an entry of a list has the type that
            it has, or its number in the first config that has it.
        first (str): What the first config has, ``'(absent)'`` if nothing.
        second (str): What the second has.
        group (str): One of :data:`GROUPS`.
        note (str): Why it need not be equal nevertheless; empty for all others.
    """

    path: str
    first: str
    second: str
    group: str
    note: str = ''


def compare_configs(first: Mapping | Config, second: Mapping | Config) -> list[Difference]:
    """Find all differences.

    Lists of transforms, hooks, data sets and the like are aligned by their types, so that one more
    entry is one difference. A list and a tuple with the same entries are equal. A ``_scope_`` is a
    difference only if a type is another class in it.

    Args:
        first (Mapping | Config): Resolved config.
        second (Mapping | Config): The other one.

    Returns:
        list[Difference]: In the order of :data:`GROUPS`, then of the configs.

    Example:
        >>> a = dict(train_cfg=dict(max_epochs=12), work_dir='a')
        >>> b = dict(train_cfg=dict(max_epochs=24), work_dir='b')
        >>> [(d.path, d.first, d.second, d.group) for d in compare_configs(a, b)]
        [('train_cfg.max_epochs', '12', '24', 'schedule')]
    """
    pair = [drop_scopes(cfg) for cfg in (first, second)]
    pair = [{k: v for k, v in cfg.items() if k not in _NOT_COMPARED} for cfg in pair]
    own_weights = _start_from_their_own(*(_backbone(cfg) for cfg in pair))
    found = []
    for path, one, other in _walk(*pair, ''):
        group = _group(path)
        note = ''
        if path in _OF_A_FILE and own_weights:
            note = 'each backbone has a file of its own'
        if path.startswith('optional_weights'):
            note = 'says which files may be missing'
        found.append(Difference(path, _text(one), _text(other), group, note))
    return sorted(found, key=lambda difference: GROUPS.index(difference.group))


def must_be_equal(differences: Sequence[Difference]) -> list[Difference]:
    """Differences that a comparison should not have.

    Args:
        differences (Sequence[Difference]): Of :func:`compare_configs`.

    Returns:
        list[Difference]: Those outside of backbone, neck, head inputs and unused variables.

    Example:
        >>> must_be_equal(compare_configs(dict(model=dict(neck=1)), dict(model=dict(neck=2))))
        []
    """
    return [d for d in differences if d.group not in (COMPARED, VARIABLES) and not d.note]


def _backbone(cfg: Mapping) -> Mapping:
    backbone = (cfg.get('model') or {}).get('backbone')
    return backbone if isinstance(backbone, Mapping) else {}


def _start_from_their_own(first: Mapping, second: Mapping) -> bool:
    """Whether two kinds of backbone start from a file each, and both are there or both are not."""
    if first.get('type') == second.get('type'):
        return False
    starts = []
    for init_cfg in (first.get('init_cfg'), second.get('init_cfg')):
        name = init_cfg.get('checkpoint') if isinstance(init_cfg, Mapping) else None
        if not isinstance(name, str):
            return False
        starts.append('://' in name or osp.isfile(name))  # what has a scheme is downloaded
    return starts[0] == starts[1]


class _Absent:
    """Stands for what a config has not."""


def _walk(first: Any, second: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Paths where two values differ, with both values."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for key in dict.fromkeys((*first, *second)):
            place = f'{path}.{key}' if path else str(key)
            yield from _walk(first.get(key, _Absent), second.get(key, _Absent), place)
    elif holds_dict(first) and holds_dict(second):
        names = [[_kind(item) for item in items] for items in (first, second)]
        for tag, a, b, c, d in SequenceMatcher(None, *names, autojunk=False).get_opcodes():
            if tag == 'equal':
                for i, j in zip(range(a, b), range(c, d), strict=True):
                    yield from _walk(first[i], second[j], _place(path, names[0], i))
                continue
            for i in range(a, b):
                yield _place(path, names[0], i), first[i], _Absent
            for j in range(c, d):
                yield _place(path, names[1], j), _Absent, second[j]
    elif listed(first) != listed(second):
        yield path, first, second


def _kind(item: Any) -> str:
    """What an entry of a list is aligned by."""
    if isinstance(item, Mapping):
        return str(item.get('type', 'dict'))
    return 'list' if isinstance(item, (list, tuple)) else repr(item)


def _place(path: str, names: Sequence[str], index: int) -> str:
    """Path of an entry: its type, with a number where it is not the only one of it."""
    name = names[index]
    if names.count(name) > 1 or name in ('dict', 'list'):
        name += f'#{names[:index].count(name)}'
    return f'{path}[{name}]'


def _text(value: Any) -> str:
    if value is _Absent:
        return ABSENT
    if isinstance(value, Mapping):
        inner = ', '.join(f'{key}={_text(item)}' for key, item in value.items())
        return f'dict({inner})'
    if isinstance(value, (list, tuple)):
        return '[' + ', '.join(map(_text, value)) + ']'
    return repr(value)


def _group(path: str) -> str:
    parts = path.replace('[', '.').replace(']', '').split('.')
    if parts[0] not in _RUN:
        return VARIABLES
    if parts[0] == 'train_dataloader':
        if 'pipeline' in parts:
            return 'augmentation'
        if parts[1:2] == ['dataset']:
            return 'training data'
    for pattern, group in _PATTERNS:
        wanted = pattern.split('.')
        if len(parts) >= len(wanted) and all(
            w in ('*', p) for w, p in zip(wanted, parts, strict=False)
        ):
            return group
    return OTHER
