# SPDX-License-Identifier: Apache-2.0
"""The difference of two configs as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import Config
from rich.box import SIMPLE
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mmdet_mobilenext.benchmark.speed.config_edits import find
from mmdet_mobilenext.engine.complexity import count_madds, count_parameters
from mmdet_mobilenext.engine.environment import OptionError

from .config_difference import COMPARED, GROUPS, VARIABLES, Difference, must_be_equal
from .detectors import build_detector, input_size, prior_generator_of, priors_of

__all__ = ['difference_report', 'facts_of']


def facts_of(cfg: Config) -> dict[str, str]:
    """What a config comes to.

    Args:
        cfg (Config): Resolved config of a detector.

    Returns:
        dict[str, str]: Size of the input, parameters, multiply-adds, priors, batch, learning rate
        and length of the training.
    """
    model = build_detector(cfg)
    try:
        size = input_size(cfg)
    except OptionError:  # tested at the size of each image, as CornerNet
        size = None
    try:
        madds = f'{count_madds(model, size):,}' if size else 'not counted'
    except Exception:  # a detector whose forward needs more than an image
        madds = 'not counted'
    facts = {
        'input, width x height': f'{size[1]}x{size[0]}' if size else 'that of each image',
        'parameters': f'{count_parameters(model):,}',
        'multiply-adds': madds,
    }
    if size and prior_generator_of(model) is not None:
        priors = priors_of(model, size)
        per_level = torch.bincount(priors.levels).tolist()
        facts['priors'] = f'{len(priors.boxes):,} ({" + ".join(map(str, per_level))})'
    batch = (cfg.get('train_dataloader') or {}).get('batch_size')
    steps = (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)
    lr = find(cfg.get('optim_wrapper'), 'lr')
    facts['batch of a process'] = f'{batch}' + (f', {steps} accumulated' if steps != 1 else '')
    facts['learning rate'] = str(lr)
    if batch and lr:
        facts['learning rate / batch'] = f'{lr / (batch * steps):.3g}'
    train_cfg = cfg.get('train_cfg') or {}
    facts['training'] = _length(train_cfg)
    return facts


def _length(train_cfg: dict[str, Any]) -> str:
    for key, unit in (('max_iters', 'iterations'), ('max_epochs', 'epochs')):
        if train_cfg.get(key) is not None:
            return f'{train_cfg[key]:,} {unit}'
    return 'not given'


def _facts_table(names: Sequence[str], facts: Sequence[dict[str, str]]) -> Table:
    table = Table(box=SIMPLE)
    table.add_column('')
    for key, name in zip('AB', names, strict=True):
        table.add_column(f'{key} = {escape(name)}', justify='right')
    for what in dict.fromkeys(what for found in facts for what in found):
        table.add_row(what, *(found.get(what, '-') for found in facts))
    return table


def _group_table(group: str, rows: Sequence[Difference]) -> Table:
    title = f'{group} ({len(rows)})'
    table = Table(title=title, title_justify='left', title_style='bold', box=SIMPLE)
    for column in ('', 'A', 'B'):
        table.add_column(column, overflow='fold')
    for row in rows:
        note = f'\n({row.note})' if row.note else ''
        table.add_row(Text(row.path + note), Text(row.first), Text(row.second))
    return table


def difference_report(
    names: Sequence[str],
    differences: Sequence[Difference],
    facts: Sequence[dict[str, str]] | None = None,
    variables: bool = False,
) -> Group:
    """Everything that a user asks before a comparison is trusted.

    Args:
        names (Sequence[str]): Names of the two configs.
        differences (Sequence[Difference]): Of :func:`compare_configs`.
        facts (Sequence[dict], optional): Of :func:`facts_of` for both. Defaults to None.
        variables (bool): Also list variables that only the config files themselves read.
            Defaults to False.

    Returns:
        Group: For ``rich.print``; the last line is the verdict.

    Example:
        >>> difference_report(['a.py', 'b.py'], []).renderables[-1].plain
        'The two differ in nothing.'
    """
    parts: list[Any] = [_facts_table(names, facts)] if facts else []
    equal = []
    for group in GROUPS:
        rows = [difference for difference in differences if difference.group == group]
        if group == VARIABLES:
            continue
        if rows:
            parts.append(_group_table(group, rows))
        elif group != COMPARED:
            equal.append(group)
    parts.append(Text('equal: ' + (', '.join(equal) or 'nothing')))
    unused = [difference for difference in differences if difference.group == VARIABLES]
    if unused and variables:
        parts.append(_group_table(VARIABLES, unused))
    elif unused:
        names = dict.fromkeys(difference.path.split('.')[0].split('[')[0] for difference in unused)
        told = 'not compared, since neither mmengine nor this project reads them: '
        parts.append(Text(f'{told}{", ".join(names)} (--variables shows them)'))
    wrong = must_be_equal(differences)
    if wrong:
        count = f'{len(wrong)} difference{"s" if len(wrong) > 1 else ""}'
        parts.append(Text(f'{count} beyond backbone, neck and head inputs.', 'bold'))
    elif any(difference.group == COMPARED for difference in differences):
        parts.append(Text('The two differ in backbone, neck and head inputs alone.', 'bold'))
    else:
        parts.append(Text('The two differ in nothing.', 'bold'))
    return Group(*parts)
