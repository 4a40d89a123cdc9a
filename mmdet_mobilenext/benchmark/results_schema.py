# SPDX-License-Identifier: Apache-2.0
"""JSON Schema of ``results.json``, and a check with it. ``docs/results_schema.md`` tells the rest.

Only tests and users who want to check a file need the package ``jsonschema``; a benchmark does not.
"""

from __future__ import annotations

from typing import Any

__all__ = ['SCHEMA', 'validate']

_TEXT = {'type': 'string'}
_FLAG = {'type': 'boolean'}
_COUNT = {'type': 'integer', 'minimum': 0}
_POSITIVE = {'type': 'number', 'exclusiveMinimum': 0}
_SHARE = {'type': 'number', 'minimum': 0, 'maximum': 1}
_SIGNED = {'type': 'number', 'minimum': -1, 'maximum': 1}


def _or_none(schema: dict) -> dict:
    return {'anyOf': [schema, {'type': 'null'}]}


def _list(items: dict, count: int | None = None) -> dict:
    size = {} if count is None else {'minItems': count, 'maxItems': count}
    return {'type': 'array', 'items': items, **size}


def _map(values: dict) -> dict:
    return {'type': 'object', 'additionalProperties': values}


def _object(optional: tuple[str, ...] = (), **keys: dict) -> dict:
    """An object with these keys and no others; all are required but the optional ones."""
    return {
        'type': 'object',
        'properties': keys,
        'required': [key for key in keys if key not in optional],
        'additionalProperties': False,
    }


_SIZE = _list({'type': 'integer', 'minimum': 1}, 2)
_INTERVAL = _list(_SHARE, 2)
_DATA = _object(images=_COUNT, objects=_COUNT, difficult=_COUNT, digest=_TEXT)
_METRICS = {
    key: _or_none(_SHARE) for key in ('voc_11point', 'voc_area', 'coco', 'coco_50', 'coco_75')
}
_CURVE = _list({'type': 'array', 'prefixItems': [_COUNT, {'type': 'number'}], 'minItems': 2,
                'maxItems': 2})  # fmt: skip
_ERROR_TYPES = ('localisation', 'classification', 'both', 'duplicate', 'background', 'missed')
_ERROR_SUMS = ('false_positive', 'false_negative')
_ERRORS = _object(
    **{key: _or_none(_SIGNED) for key in (*_ERROR_TYPES, *_ERROR_SUMS)},
    base=_or_none(_SHARE),
    counts=_map({'type': 'number', 'minimum': 0}),
)
_RUN = _object(
    seed=_COUNT,
    metrics=_object(**_METRICS),
    per_class=_map(
        _object(
            objects=_COUNT,
            difficult=_COUNT,
            detections=_COUNT,
            voc_11point=_or_none(_SHARE),
            voc_area=_or_none(_SHARE),
            coco=_or_none(_SHARE),
        )
    ),
    errors=_ERRORS,
    curves=_object(loss=_CURVE, val_map=_CURVE),
)
_EXPORTED = _object(
    format={'enum': ['ONNX', 'OpenVINO', 'ncnn']},
    runtime=_TEXT,
    precision=_TEXT,
    kind={'enum': ['detections', 'raw']},
    thresholds=_object(
        score_thr=_SHARE, iou_thr=_SHARE, max_per_img={'type': 'integer', 'minimum': 1}
    ),
    files={**_list(_object(name=_TEXT, bytes=_COUNT, sha256=_TEXT)), 'minItems': 1},
    provenance={'type': 'object'},
)
_MODEL = _object(
    name=_TEXT,
    config=_TEXT,
    config_digest=_TEXT,
    backbone=_TEXT,
    exported=_or_none(_EXPORTED),
    seeds={**_list(_RUN), 'minItems': 1},
    summary=_object(
        **{
            key: _object(
                mean=values,
                std=_or_none({'type': 'number', 'minimum': 0}),
                seeds={'type': 'integer', 'minimum': 1},
            )
            for key, values in _METRICS.items()
        }
    ),
    interval=_object(voc_11point=_or_none(_INTERVAL)),
    per_class=_map(
        _object(
            objects=_COUNT,
            difficult=_COUNT,
            mean=_or_none(_SHARE),
            interval=_or_none(_INTERVAL),
        )
    ),
    errors=_ERRORS,
    pr_curves=_map(_or_none(_object(recall=_list(_SHARE, 101), precision=_list(_SHARE, 101)))),
    confusion=_object(score_thr=_SHARE, iou_thr=_SHARE, matrix=_list(_list(_COUNT))),
    cost=_object(
        parameters=_or_none(_COUNT),
        madds=_or_none(_COUNT),
        checkpoint_mb=_POSITIVE,
        input_size=_SIZE,
    ),
)
_COMPARISON = _object(
    model=_TEXT,
    baseline=_TEXT,
    metric={'const': 'voc_11point'},
    difference=_SIGNED,
    interval=_list(_SIGNED, 2),
    level=_SHARE,
    seed_differences=_list(_SIGNED),
    # Student's t with two seeds reaches beyond what is possible
    seed_interval=_or_none(_list({'type': 'number'}, 2)),
    verdict={'enum': ['better', 'worse', 'no difference shown']},
    sentence=_TEXT,
)
_MEASURED = _object(
    latency_ms=_or_none(
        _object(
            median=_POSITIVE,
            p95=_POSITIVE,
            runs=_COUNT,
            batch=_COUNT,
            threads=_COUNT,
            device=_TEXT,
            nms=_FLAG,
            input_size=_SIZE,
            order=_TEXT,
        )
    ),
    training=_or_none(
        _object(images_per_second=_POSITIVE, batch=_COUNT, median_ms=_POSITIVE, runs=_COUNT)
    ),
    memory_mb=_or_none(
        _object(inference=_or_none(_POSITIVE), training=_or_none(_POSITIVE), how=_TEXT)
    ),
    wall_minutes=_map(_or_none({'type': 'number', 'minimum': 0})),
)

SCHEMA: dict[str, Any] = {
    '$schema': 'https://json-schema.org/draft/2020-12/schema',
    'title': 'Comparison of detectors, version 2',
    **_object(
        schema_version={'const': 2},
        title=_TEXT,
        protocol=_object(
            seeds={**_list(_COUNT), 'minItems': 1, 'uniqueItems': True},
            trained_here=_FLAG,
            launcher=_TEXT,
            processes=_COUNT,
            threads=_COUNT,
            cfg_options={'type': 'object'},
            headline={'const': 'voc_11point'},
            resamples=_COUNT,
            level=_SHARE,
            input_size=_or_none(_SIZE),
            data=_object(test=_DATA, train=_or_none(_DATA)),
            code=_map(_TEXT),
        ),
        classes={**_list(_TEXT), 'minItems': 1, 'uniqueItems': True},
        models={**_list(_MODEL), 'minItems': 1},
        comparisons=_list(_COMPARISON),
        published=_list(
            _object(name=_TEXT, backbone=_TEXT, voc_11point=_SHARE, setting=_TEXT, source=_TEXT)
        ),
        disagreement=_list(
            _object(image_id=_TEXT, model_a=_TEXT, model_b=_TEXT, f1_a=_SHARE, f1_b=_SHARE)
        ),
        volatile=_object(machine=_TEXT, finished=_TEXT, models=_map(_MEASURED)),
    ),
}
"""JSON Schema, draft 2020-12."""


def validate(results: dict) -> None:
    """Check results against :data:`SCHEMA`, and that their parts agree with each other.

    Args:
        results (dict): Content of ``results.json``.

    Raises:
        ImportError: If the package ``jsonschema`` is not installed.
        ValueError: If something is not as the schema tells; each place is named.

    Example:
        >>> validate({'schema_version': 1})  # doctest: +IGNORE_EXCEPTION_DETAIL
        Traceback (most recent call last):
        ValueError: results are not of schema version 2: ...
    """
    from jsonschema import Draft202012Validator

    errors = sorted(Draft202012Validator(SCHEMA).iter_errors(results), key=lambda e: e.json_path)
    problems = [f'{error.json_path}: {error.message[:200]}' for error in errors]
    problems = problems or _disagreements(results)
    if problems:
        raise ValueError(f'results are not of schema version 2: {"; ".join(problems[:5])}')


def _disagreements(results: dict) -> list[str]:
    """What a schema cannot tell: names that occur in several places."""
    problems = []
    names = [model['name'] for model in results['models']]
    if len(set(names)) != len(names):
        problems.append(f'models have the names {names}, which have to differ')
    classes, seeds = results['classes'], results['protocol']['seeds']
    for model in results['models']:
        for place, keys in (
            ('per_class', set(model['per_class'])),
            ('pr_curves', set(model['pr_curves']) - ({'mean'} - set(classes))),
            *((f'seed {run["seed"]} per_class', set(run['per_class'])) for run in model['seeds']),
        ):
            if keys != set(classes):
                odd = sorted(keys ^ set(classes))
                problems.append(f'{place} of {model["name"]} and classes differ in {odd}')
        if [run['seed'] for run in model['seeds']] != seeds:
            problems.append(f'{model["name"]} has other seeds than the protocol, {seeds}')
        shape = [len(row) for row in model['confusion']['matrix']]
        if shape != [len(classes) + 1] * (len(classes) + 1):
            problems.append(f'confusion of {model["name"]} has rows of {shape} numbers')
    for entry in results['comparisons']:
        if unknown := {entry['model'], entry['baseline']} - set(names):
            problems.append(f'comparisons name {sorted(unknown)}, which is no model')
    return problems
