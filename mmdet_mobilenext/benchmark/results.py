# SPDX-License-Identifier: Apache-2.0
"""From what the runs left to the dictionary that ``results.json`` holds.

Its keys are told in ``docs/results_schema.md``. With the same seed on the same machine everything
but ``volatile`` is the same again.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmdet_mobilenext.engine.test_exported import is_exported
from mmdet_mobilenext.evaluation.bootstrap import BootstrapResult, bootstrap_map
from mmdet_mobilenext.evaluation.confusion import confusion_matrix
from mmdet_mobilenext.evaluation.disagreement import most_different_images
from mmdet_mobilenext.evaluation.error_analysis import error_analysis
from mmdet_mobilenext.evaluation.metrics import METRICS, evaluate, pr_curves
from mmdet_mobilenext.evaluation.records import DetectionRecords
from mmdet_mobilenext.evaluation.verdict import compare_models

from .curves import read_curves, training_minutes
from .errors import BenchmarkError
from .folder import RunFolder
from .plan import ModelPlan, Plan
from .published import PUBLISHED

__all__ = ['SCHEMA_VERSION', 'build_results']

SCHEMA_VERSION = 2
HEADLINE = 'voc_11point'
LEVEL = 0.95
SCORE_THR, IOU_THR = 0.3, 0.5


def build_results(
    plan: Plan,
    records: Mapping[str, Sequence[DetectionRecords]],
    folders: Sequence[RunFolder],
    measured: Mapping[str, Any],
    memory: Mapping[str, Mapping],
    resamples: int = 1000,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Evaluate, compare and put together.

    Args:
        plan (Plan): What was run.
        records (Mapping[str, Sequence[DetectionRecords]]): Detections of each model, by seed.
        folders (Sequence[RunFolder]): Folders of all runs.
        measured (Mapping): ``result`` of :func:`measure_cost`, and ``machine`` and ``finished``.
        memory (Mapping[str, Mapping]): See :func:`measure_memory`, by model.
        resamples (int): Bootstrap resamples. Defaults to 1000.
        say (Callable): Told what goes on. Defaults to ``print``.

    Returns:
        dict: Content of ``results.json``.

    Raises:
        BenchmarkError: If detectors were tested on different images, or on none with objects.
    """
    _check_same_images(records)
    cost = measured['result']
    names = [model.name for model in plan.models]
    say('evaluating detections')
    metrics = {name: [evaluate(item) for item in records[name]] for name in names}
    if metrics[names[0]][0][HEADLINE] is None:
        raise BenchmarkError(
            'the test set has no object that counts (all are difficult, or there are none): '
            'nothing can be evaluated on it'
        )
    say(f'comparing: {resamples} resamples of {records[names[0]][0].num_images} test images')
    boot = bootstrap_map([records[name] for name in names], resamples=resamples, seed=0)
    comparisons = compare_models(
        names,
        boot,
        [[seed[HEADLINE] for seed in metrics[name]] for name in names],
        level=LEVEL,
    )
    say('analysing errors')
    models = [
        _model(plan, model, metrics[model.name], records[model.name], folders, boot, index)
        | dict(cost=cost[model.name]['cost'])
        for index, model in enumerate(plan.models)
    ]
    return dict(
        schema_version=SCHEMA_VERSION,
        title=' and '.join(names) if len(names) == 2 else ', '.join(names),
        protocol=_protocol(plan, cost, resamples),
        classes=list(plan.classes),
        models=models,
        comparisons=comparisons,
        published=_published(plan),
        disagreement=_disagreement(names[:2], records),
        volatile=_volatile(plan, folders, measured, memory),
    )


def _check_same_images(records: Mapping[str, Sequence[DetectionRecords]]) -> None:
    digests = {
        f'{name} seed number {index}': item.ground_truth_digest()
        for name, items in records.items()
        for index, item in enumerate(items)
    }
    if len(set(digests.values())) > 1:
        raise BenchmarkError(
            'the detectors were tested on different images or objects, or saw them through '
            f'different test pipelines, and cannot be compared: {digests}'
        )


def _published(plan: Plan) -> list[dict[str, Any]]:
    """Published rows of the backbones that take part."""
    backbones = {model.backbone for model in plan.models}
    return [dict(row) for row in PUBLISHED if row['backbone'] in backbones]


def _protocol(plan: Plan, cost: Mapping[str, Mapping], resamples: int) -> dict[str, Any]:
    sizes = {tuple(cost[model.name]['cost']['input_size']) for model in plan.models}
    return dict(
        seeds=list(plan.seeds),
        **plan.protocol(),
        cfg_options=plan.cfg_options,
        headline=HEADLINE,
        resamples=resamples,
        level=LEVEL,
        input_size=list(sizes.pop()) if len(sizes) == 1 else None,
        data=dict(test=plan.data['test'], train=plan.data.get('train')),
        code=plan.code,
    )


def _model(
    plan: Plan,
    model: ModelPlan,
    metrics: Sequence[Mapping],
    records: Sequence[DetectionRecords],
    folders: Sequence[RunFolder],
    boot: BootstrapResult,
    index: int,
) -> dict[str, Any]:
    mine = [folder for folder in folders if folder.model == model.name]
    errors = [error_analysis(item) for item in records]
    seeds = [
        dict(
            seed=folder.seed,
            metrics={name: values[name] for name in METRICS},
            per_class=values['per_class'],
            errors=error,
            curves=read_curves(_training_folder(folder)),
        )
        for folder, values, error in zip(mine, metrics, errors, strict=True)
    ]
    per_class = {}
    for k, name in enumerate(plan.classes):
        values = [item['per_class'][name][HEADLINE] for item in metrics]
        first = metrics[0]['per_class'][name]
        evaluated = values[0] is not None
        per_class[name] = dict(
            objects=first['objects'],
            difficult=first['difficult'],
            mean=statistics.fmean(values) if evaluated else None,
            interval=_pair(boot.class_interval(index, k, LEVEL)) if evaluated else None,
        )
    return dict(
        name=model.name,
        config=Path(model.config).name,
        config_digest=model.digest,
        backbone=model.backbone,
        exported=model.exported.record() if model.exported else None,
        seeds=seeds,
        summary={name: _summary([item[name] for item in metrics]) for name in METRICS},
        interval={HEADLINE: _pair(boot.interval(index, LEVEL))},
        per_class=per_class,
        errors=_mean_errors(errors),
        pr_curves=_pr_curves(records[0]),
        confusion=dict(
            score_thr=SCORE_THR,
            iou_thr=IOU_THR,
            matrix=confusion_matrix(records[0], SCORE_THR, IOU_THR).tolist(),
        ),
    )


def _training_folder(folder: RunFolder) -> Path:
    """Where the log of a training is: the folder of the run, or that of its checkpoint.

    What lies beside an exported file may be of another training.
    """
    checkpoint = folder.checkpoint()
    return folder.path if checkpoint is None or is_exported(checkpoint) else Path(checkpoint).parent


def _pair(interval: Sequence[float] | None) -> list[float] | None:
    return None if interval is None else [float(value) for value in interval]


def _summary(values: Sequence[float]) -> dict[str, Any]:
    return dict(
        mean=statistics.fmean(values),
        std=statistics.stdev(values) if len(values) > 1 else None,
        seeds=len(values),
    )


def _mean_errors(errors: Sequence[Mapping]) -> dict[str, Any]:
    means = {
        key: statistics.fmean(item[key] for item in errors)
        for key, value in errors[0].items()
        if isinstance(value, (int, float))
    }
    if 'counts' in errors[0]:
        means['counts'] = {
            key: statistics.fmean(item['counts'][key] for item in errors)
            for key in errors[0]['counts']
        }
    return means


def _pr_curves(records: DetectionRecords) -> dict[str, Any]:
    curves: dict[str, Any] = dict(pr_curves(records))
    evaluated = [curve for curve in curves.values() if curve is not None]
    curves['mean'] = dict(
        recall=evaluated[0]['recall'],
        precision=np.mean([curve['precision'] for curve in evaluated], axis=0).tolist(),
    )
    return curves


def _disagreement(
    names: Sequence[str], records: Mapping[str, Sequence[DetectionRecords]]
) -> list[dict[str, Any]]:
    a, b = (records[name][0] for name in names)
    return [
        dict(
            image_id=str(a.image_ids[entry['image']]),
            model_a=names[0],
            model_b=names[1],
            f1_a=entry['f1_a'],
            f1_b=entry['f1_b'],
        )
        for entry in most_different_images(a, b)
    ]


def _volatile(
    plan: Plan,
    folders: Sequence[RunFolder],
    measured: Mapping[str, Any],
    memory: Mapping[str, Mapping],
) -> dict[str, Any]:
    cost = measured['result']
    return dict(
        machine=measured['machine'],
        finished=measured['finished'],
        models={
            model.name: dict(
                latency_ms=cost[model.name]['latency_ms'],
                training=cost[model.name]['training'],
                memory_mb=memory[model.name],
                wall_minutes={
                    str(folder.seed): training_minutes(_training_folder(folder))
                    for folder in folders
                    if folder.model == model.name
                },
            )
            for model in plan.models
        },
    )
