# SPDX-License-Identifier: Apache-2.0
"""The texts and numbers of a report's tables, for the page and for Markdown."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

__all__ = ['ERROR_NAMES', 'NOT_EVALUATED', 'Cell', 'percent', 'points']

TIMES, MINUS, DASH = '\N{MULTIPLICATION SIGN}', '\N{MINUS SIGN}', '\N{EN DASH}'
NOT_EVALUATED = 'not evaluated'
NOT_MEASURED = 'not measured'
NOT_COUNTED = 'not counted'
ERROR_NAMES = {
    'classification': 'wrong class',
    'localisation': 'wrong place',
    'both': 'class and place',
    'duplicate': 'duplicate',
    'background': 'background',
    'missed': 'missed',
}
"""Errors of TIDE in words."""
ALL_ERRORS = {
    'false_positive': 'all false positives',
    'false_negative': 'all false negatives',
}
"""TIDE's two sums over types, in the table only."""
TIDE_URL = 'https://arxiv.org/abs/2008.08115'
COLUMNS = (
    ('Accuracy, %', 'mAP 11-point'),
    ('Accuracy, %', 'mAP area'),
    ('Accuracy, %', 'COCO AP'),
    ('Size', 'Parameters, M'),
    ('Size', 'MAdds, M'),
    ('Size', 'Checkpoint, MB'),
    ('Peak memory, MB', 'inference'),
    ('Peak memory, MB', 'training'),
    ('Latency, ms', 'median'),
    ('Latency, ms', 'p95'),
    ('Training', 'images/s'),
)
"""Group and name of each column of the main table after the model's name."""


@dataclass(frozen=True)
class Cell:
    """A cell of the main table: the number, and its uncertainty if there is one."""

    value: str
    note: str = ''


def percent(value: float | None, digits: int = 1) -> str:
    """A share in percent without the sign.

    Example:
        >>> percent(0.7166), percent(None)
        ('71.7', 'not evaluated')
    """
    return NOT_EVALUATED if value is None else f'{100 * value:.{digits}f}'


def level_text(level: float) -> str:
    """A confidence level in percent.

    Example:
        >>> level_text(0.95), level_text(1 - 0.05 / 2)
        ('95', '97.5')
    """
    return f'{100 * level:.3g}'


def points(value: float) -> str:
    """A difference of two shares in points, with its sign.

    Example:
        >>> points(0.0126), points(0.00001), points(-0.0126) == f'{MINUS}1.3'
        ('+1.3', '0.0', True)
    """
    text = f'{100 * value:+.1f}'
    return '0.0' if float(text) == 0 else text.replace('-', MINUS)


def _interval(interval: list[float] | None) -> str:
    return '' if interval is None else f'{percent(interval[0])} to {percent(interval[1])}'


def _measured(value: float | None, digits: int) -> Cell:
    return Cell(NOT_MEASURED if value is None else f'{value:.{digits}f}')


def _accuracy(model: dict, metric: str) -> Cell:
    """Mean, deviation over seeds if there are several, and interval if there is one."""
    summary = model['summary'][metric]
    text = percent(summary['mean'])
    if summary.get('std') is not None:
        text += f' ± {100 * summary["std"]:.1f}'
    return Cell(text, _interval(model['interval'].get(metric)))


def model_rows(results: dict) -> list[tuple[dict, list[Cell]]]:
    """Each model with its cells in the order of :data:`COLUMNS`."""
    rows = []
    for model in results['models']:
        cost = model.get('cost') or {}
        measured = (results['volatile'].get('models') or {}).get(model['name']) or {}
        memory, latency = measured.get('memory_mb') or {}, measured.get('latency_ms') or {}
        training = measured.get('training') or {}

        def million(key: str, digits: int, cost: dict = cost) -> Cell:
            value = cost.get(key)
            return Cell(NOT_COUNTED if value is None else f'{value / 1e6:.{digits}f}')

        cells = [
            _accuracy(model, 'voc_11point'),
            _accuracy(model, 'voc_area'),
            _accuracy(model, 'coco'),
            million('parameters', 2),
            million('madds', 1),
            _measured(cost.get('checkpoint_mb'), 1),
            _measured(memory.get('inference'), 0),
            _measured(memory.get('training'), 0),
            _measured(latency.get('median'), 1),
            _measured(latency.get('p95'), 1),
            _measured(training.get('images_per_second'), 1),
        ]
        rows.append((model, cells))
    return rows


def model_note(model: dict) -> str:
    """What a model is, below its name: backbone, and of an exported file how it is run.

    Example:
        >>> model_note(dict(backbone='MobileNeXt', exported=None))
        'MobileNeXt'
    """
    exported = model['exported']
    if exported is None:
        return model['backbone']
    return (
        f'{model["backbone"]}, {exported["format"]} {exported["precision"]}, {exported["runtime"]}'
    )


def conditions(results: dict) -> list[str]:
    """Sentences that tell what the numbers of the main table were measured on and how."""
    protocol, volatile = results['protocol'], results['volatile']
    seeds = len(protocol['seeds'])
    level = level_text(protocol['level'])
    kind = f'mean of {seeds} training seeds ± standard deviation' if seeds > 1 else 'one seed'
    sentences = [
        f'Accuracy on {protocol["data"]["test"]["images"]:,} test images, {kind}; below '
        f'it the {level} % interval over {protocol["resamples"]:,} resamples of the test images.'
    ]
    by_text: dict[str, list[str]] = {}
    for model in results['models']:
        measured = (volatile.get('models') or {}).get(model['name']) or {}
        parts = []
        if latency := measured.get('latency_ms'):
            nms = 'with' if latency.get('nms') else 'without'
            parts.append(
                f'Latency: {latency["runs"]} runs of batch {latency["batch"]} at '
                f'{_size(latency["input_size"])} on {latency["device"]}, '
                f'{_count(latency["threads"], "thread")}, {nms} NMS'
                + (', models interleaved' if latency.get('order') == 'interleaved' else '')
                + '.'
            )
        if training := measured.get('training'):
            parts.append(f'Training speed: {training["runs"]} runs of batch {training["batch"]}.')
        if how := (measured.get('memory_mb') or {}).get('how'):
            parts.append(f'Memory: {how}.')
        if parts:
            by_text.setdefault(' '.join(parts), []).append(model['name'])
    if files := [model['name'] for model in results['models'] if model['exported']]:
        sentences.append(
            f'{", ".join(files)}: exported, not trained here; on the CPU by the runtime that is '
            'named, the size is that of the files, parameters and multiply-adds are not counted.'
        )
    for text, names in by_text.items():
        sentences.append(text if len(by_text) == 1 else f'{", ".join(names)}: {text}')
    sentences.append(f'Machine: {volatile["machine"]}. Finished {volatile["finished"]}.')
    return sentences


def _size(size: list[int] | None) -> str:
    if size is None:
        return 'of each config'
    return TIMES.join(str(value) for value in reversed(size)) + ' px'


def _count(number: int, noun: str) -> str:
    return f'{number:,} {noun}' + ('' if number == 1 else 's')


def class_table(results: dict) -> tuple[list[str], list[list[str]]]:
    """Head and rows: class, objects, and AP with interval of each model."""
    models = results['models']
    head = ['Class', 'Objects', 'Difficult', *(model['name'] for model in models)]
    rows = []
    for name in results['classes']:
        entries = [model['per_class'][name] for model in models]
        cells = [percent(e['mean']) + _bracket(e['interval']) for e in entries]
        rows.append([name, f'{entries[0]["objects"]:,}', f'{entries[0]["difficult"]:,}', *cells])
    return head, rows


def _bracket(interval: list[float] | None) -> str:
    return '' if interval is None else f' ({_interval(interval)})'


def error_table(results: dict) -> tuple[list[str], list[list[str]]]:
    """Head and rows: error, and mAP points lost to it by each model."""
    errors = [model.get('errors') or {} for model in results['models']]
    head = ['Error', *(model['name'] for model in results['models'])]
    rows = [
        [text, *(NOT_MEASURED if e.get(key) is None else f'{100 * e[key]:.1f}' for e in errors)]
        for key, text in (ERROR_NAMES | ALL_ERRORS).items()
        if any(e.get(key) is not None for e in errors)
    ]
    return head, rows


def seed_table(results: dict) -> tuple[list[str], list[list[str]]]:
    """Head and rows: model, seed, metrics and training time of each run."""
    keys = {
        'voc_11point': 'mAP 11-point',
        'voc_area': 'mAP area',
        'coco': 'COCO AP',
        'coco_50': 'COCO AP50',
        'coco_75': 'COCO AP75',
    }
    head = ['Model', 'Seed', *keys.values(), 'Training, min']
    rows = []
    for model in results['models']:
        measured = (results['volatile'].get('models') or {}).get(model['name']) or {}
        minutes = measured.get('wall_minutes') or {}
        for run in model['seeds']:
            time = minutes.get(str(run['seed']))
            cells = [percent(run['metrics'].get(key)) for key in keys]
            rows.append(
                [model['name'], str(run['seed']), *cells, DASH if time is None else f'{time:.1f}']
            )
    return head, rows


def protocol_rows(results: dict) -> list[tuple[str, str]]:
    """Name and text of everything that determines the results."""
    protocol = results['protocol']
    seeds = ', '.join(str(seed) for seed in protocol['seeds'])
    rows = [
        ('Seeds', seeds),
        ('Trained here', 'yes' if protocol['trained_here'] else 'no, checkpoints were given'),
        ('Launcher', protocol['launcher']),
        ('Processes of a run', str(protocol['processes'])),
        ('Threads of a process', str(protocol['threads'])),
        ('Input size', _size(protocol['input_size'])),
        ('Headline metric', protocol['headline']),
        ('Resamples of the test images', f'{protocol["resamples"]:,}'),
        ('Level of intervals', f'{level_text(protocol["level"])} %'),
    ]
    for split, data in protocol['data'].items():
        if data is None:
            rows.append((f'Data, {split}', 'not used'))
            continue
        rows.append(
            (
                f'Data, {split}',
                f'{_count(data["images"], "image")}, {_count(data["objects"], "object")}, '
                f'{data["difficult"]:,} difficult; digest {data["digest"]}',
            )
        )
    for model in results['models']:
        if model['exported']:
            rows.append((f'Exported file {model["name"]}', _exported_text(model['exported'])))
            continue
        text = f'{model["config"]}; digest {model["config_digest"]}'
        rows.append((f'Config of {model["name"]}', text))
    options = '; '.join(f'{k}={_plain(v)}' for k, v in protocol['cfg_options'].items())
    rows.append(('Config options', options or 'none'))
    rows.append(('Code', ', '.join(f'{k} {v}' for k, v in protocol['code'].items())))
    return rows


def _exported_text(exported: dict) -> str:
    """What an exported file is and where it comes from."""
    parts = [f'{exported["format"]}, {exported["precision"]}, run by {exported["runtime"]}']
    parts += [
        f'{file["name"]} {_count(file["bytes"], "byte")}, SHA-256 {file["sha256"]}'
        for file in exported['files']
    ]
    parts.append(', '.join(f'{k} {v}' for k, v in exported['thresholds'].items()))
    origin = exported['provenance']
    parts += [
        f'{key} {_plain(origin[key])}'
        for key in ('config', 'checkpoint', 'checkpoint_sha256', 'exported')
        if key in origin
    ]
    return '; '.join(parts)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def verdict_sign(verdict: str) -> str:
    """A sign that tells a verdict without colour."""
    return {'better': '▲', 'worse': '▼'}.get(verdict, '=')
