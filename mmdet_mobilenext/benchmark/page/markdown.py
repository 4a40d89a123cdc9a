# SPDX-License-Identifier: Apache-2.0
"""The report as a text in GitHub's Markdown."""

from __future__ import annotations

import re

from .tables import (
    COLUMNS,
    DASH,
    MINUS,
    TIDE_URL,
    class_table,
    conditions,
    error_table,
    model_note,
    model_rows,
    percent,
    protocol_rows,
    seed_table,
    verdict_sign,
)

__all__ = ['render_markdown']


def render_markdown(results: dict) -> str:
    """Verdict, tables and protocol.

    Args:
        results (dict): The results, see ``docs/results_schema.md``.

    Returns:
        str: Markdown with a newline at the end.

    Example:
        >>> from mmdet_mobilenext.benchmark.page import render_markdown
        >>> def first_line(results):
        ...     return render_markdown(results).splitlines()[0]
    """
    lines = [f'# {_text(results["title"])}', '']
    for entry in results['comparisons']:
        word = f'{verdict_sign(entry["verdict"])} {entry["verdict"]}'
        lines += [f'**{_text(word)}**: {_text(entry["sentence"])}', '']
    if not results['comparisons']:
        lines += ['One model: nothing to compare.', '']

    head = ['Model', *(_with_group(group, name) for group, name in COLUMNS)]
    rows = [
        [_named(model), *(c.value + (f' ({c.note})' if c.note else '') for c in cells)]
        for model, cells in model_rows(results)
    ]
    lines += ['## Accuracy and cost', '', *_table(head, rows), '']
    lines += [_text(sentence) for sentence in conditions(results)] + ['']
    if results.get('published'):
        head = ['Published by others', 'mAP 11-point, %', 'Setting', 'Source']
        rows = [
            [
                f'{row["name"]} (*published*)',
                percent(row['voc_11point']),
                row['setting'],
                row['source'],
            ]
            for row in results['published']
        ]
        lines += ['### Published, not measured here', '', *_table(head, rows), '']
        lines += ['Another setting: these rows tell what was reached elsewhere and are no part of '
                  'the verdict.', '']  # fmt: skip
    lines += ['## AP of each class, %', '', *_table(*class_table(results)), '']
    head, rows = error_table(results)
    if rows:
        lines += ['## Where mAP is lost, points', '', *_table(head, rows), '']
        lines += [f'Error types of [TIDE]({TIDE_URL}), Bolya et al., ECCV 2020.', '']
    lines += ['## Runs', '', *_table(*seed_table(results)), '']
    rows = [list(row) for row in protocol_rows(results)]
    lines += ['## Protocol', '', *_table(['What', 'Value'], rows)]
    return '\n'.join(lines) + '\n'


def _named(model: dict) -> str:
    return f'{model["name"]} ({model_note(model)})' if model['exported'] else model['name']


def _with_group(group: str, name: str) -> str:
    what, _, unit = group.partition(', ')
    if what in ('Size', 'Accuracy'):
        return f'{name}, {unit}' if unit else name
    return f'{what} {name}' + (f', {unit}' if unit else '')


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    """A table; numbers to the right."""
    right = [
        all(re.match(rf'[{MINUS}{DASH}\d]|not ', row[k]) for row in rows) for k in range(len(head))
    ]
    rule = ['---:' if flag and k else '---' for k, flag in enumerate(right)]
    return [f'| {" | ".join(line)} |' for line in ([_text(c) for c in head], rule)] + [
        f'| {" | ".join(_text(cell) for cell in row)} |' for row in rows
    ]


def _text(text: str) -> str:
    """A text that Markdown shows as it is, on one line; ``*published*`` stays emphasised."""
    text = re.sub(r'\s+', ' ', text)
    text = text.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')
    text = re.sub(r'([\\`|_\[\]#])', r'\\\1', text)
    return re.sub(r'\*(?!published\*)(?<!\*published\*)', r'\\*', text)
