# SPDX-License-Identifier: Apache-2.0
"""Latency of exported files beside the detector in PyTorch, and from an image file to boxes."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.apis import inference_detector
from mmengine.config import Config
from scipy.stats import bootstrap
from torch import nn

from mmdet_mobilenext.checksum import sha256_of
from mmdet_mobilenext.evaluation.exported_detector import ExportedDetector
from mmdet_mobilenext.export.settings import test_transforms
from mmdet_mobilenext.runtime import Detector, read_image

from ..cost import load_detector, test_batches
from ..errors import BenchmarkError
from .timing import as_series, run_rounds, timed

__all__ = ['EAGER', 'STAGES', 'DeployedPlan', 'measure_deployed', 'ratio_interval']

EAGER = 'PyTorch'
STAGES = ('decode', 'resize', 'network', 'scale')
"""From bytes of an image file to boxes in its pixels; the network with decoding and NMS."""


@dataclass(frozen=True)
class DeployedPlan:
    """How it is measured.

    Attributes:
        rounds (int): Counted runs of each candidate. Defaults to 200.
        warm_up (int): Runs that are not counted. Defaults to 20.
        images (int): Test images, one after the other, the same in a round. Defaults to 64.
        threads (int): CPU threads of each candidate. Defaults to 2.
        seed (int): Of the order of the candidates in each round. Defaults to 0.

    Raises:
        BenchmarkError: If a number is out of range.

    Example:
        >>> DeployedPlan(rounds=0)
        Traceback (most recent call last):
        ...
        mmdet_mobilenext.benchmark.errors.BenchmarkError: rounds must be at least 1, but received 0
    """

    rounds: int = 200
    warm_up: int = 20
    images: int = 64
    threads: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in dict(rounds=1, warm_up=0, images=1, threads=1, seed=0).items():
            if getattr(self, name) < least:
                raise BenchmarkError(
                    f'{name} must be at least {least}, but received {getattr(self, name)}'
                )


def ratio_interval(
    base: Sequence[float], times: Sequence[float], level: float = 0.95
) -> tuple[float, float, float]:
    """How much of the time of one candidate another takes.

    Args:
        base (Sequence[float]): Times of the one, of each round.
        times (Sequence[float]): Times of the other in the same rounds.
        level (float): Of the interval. Defaults to 0.95.

    Returns:
        tuple[float, float, float]: Median over the rounds of the ratio within a round, and the ends
        of its percentile bootstrap interval over the rounds.

    Example:
        >>> ratio_interval([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
        (0.5, 0.5, 0.5)
    """
    found = np.asarray(times) / np.asarray(base)
    median = float(np.median(found))
    if len(found) < 2 or found.min() == found.max():
        return median, median, median
    interval = bootstrap(
        (found,), np.median, confidence_level=level, method='percentile', random_state=0
    ).confidence_interval
    return median, float(interval.low), float(interval.high)


def measure_deployed(
    cfg: Config,
    checkpoint: str,
    files: Sequence[tuple[str, str | None]],
    plan: DeployedPlan,
    watch: Callable[[str], Callable[[int, int], None]] = lambda title: lambda done, total: None,
) -> dict[str, Any]:
    """Measure the detector and files in turn, in one process.

    Args:
        cfg (Config): Config of the detector, with its test set.
        checkpoint (str): Its weights.
        files (Sequence[tuple[str, str | None]]): Exported files, and the backend of each or None.
        plan (DeployedPlan): How.
        watch (Callable): Begins a part and returns what is called after each round.

    Returns:
        dict[str, Any]: ``files`` (what each is), ``latency`` (list[Series], from a resized image to
        boxes, PyTorch first), ``whole`` (list[Series], from a file to boxes in its pixels) and
        ``stages`` (of each file the median seconds of :data:`STAGES`).

    Raises:
        BenchmarkError: If there is a GPU, two files have one name, or the sizes differ.
        CheckpointKeyError, FileNotFoundError, ModelFileError: Before anything is measured.
    """
    if torch.cuda.is_available():
        raise BenchmarkError(
            'exported files are measured on the CPU, beside PyTorch: hide the GPU with '
            "`CUDA_VISIBLE_DEVICES=''`"
        )
    torch.set_num_threads(plan.threads)
    detectors: dict[str, Detector] = {}
    for path, backend in files:
        detector = Detector(path, backend, plan.threads)
        name = f'{Path(path).name} ({detector.backend})'
        if name in detectors:
            raise BenchmarkError(f'{name} is there twice: give the files different names')
        detectors[name] = detector
    model = load_detector(cfg, checkpoint)[1]
    batches = test_batches(cfg, plan.images)
    size = tuple(batches[0]['inputs'][0].shape[:0:-1])
    for name, detector in detectors.items():
        if detector.size != size:
            raise BenchmarkError(
                f'{name} takes images of {detector.size}, but the test pipeline makes {size}: '
                'times of different sizes say nothing'
            )
    latency = run_rounds(
        {
            EAGER: timed(_eager(model, batches)),
            **{name: timed(_prepared(d, batches)) for name, d in detectors.items()},
        },
        plan.rounds,
        plan.warm_up,
        watch('from a resized image'),
        random.Random(plan.seed),
    )
    paths = [batch['data_samples'][0].img_path for batch in batches]
    stages: dict[str, list[dict[str, float]]] = {name: [] for name in detectors}
    whole = run_rounds(
        {
            EAGER: timed(_eager_whole(model, cfg, paths)),
            **{n: _whole(d, paths, stages[n].append) for n, d in detectors.items()},
        },
        plan.rounds,
        plan.warm_up,
        watch('from an image file'),
        random.Random(plan.seed + 1),
    )
    return dict(
        files=[_about(name, detector) for name, detector in detectors.items()],
        latency=as_series(latency, 'latency', 'from a resized image to boxes', 1),
        whole=as_series(whole, 'whole', 'from an image file to boxes', 1),
        stages={
            name: {s: float(np.median([row[s] for row in rows[plan.warm_up :]])) for s in STAGES}
            for name, rows in stages.items()
            if len(rows) > plan.warm_up
        },
    )


def _about(name: str, detector: Detector) -> dict[str, Any]:
    spec = detector.spec
    return dict(
        name=name,
        backend=detector.backend,
        kind=spec.kind,
        precision=spec.precision,
        size=list(spec.size),
        batch=spec.batch,
        sha256=sha256_of(detector.path),
        provenance=dict(spec.provenance),
    )


def _eager(model: nn.Module, batches: Sequence[dict]) -> Callable[[], object]:
    """Preprocessing of the batch, network, decoding and NMS, as ``tools/test.py`` runs them."""
    stream = itertools.cycle(batches)

    def run() -> object:
        with torch.inference_mode():
            return model.test_step(next(stream))

    return run


def _prepared(detector: Detector, batches: Sequence[dict]) -> Callable[[], object]:
    """The same from the same pixels."""
    images = [ExportedDetector.batch_of(batch['inputs'], detector.spec.color) for batch in batches]
    stream = itertools.cycle(images)
    return lambda: detector.run(next(stream))


def _eager_whole(model: nn.Module, cfg: Config, paths: Sequence[str]) -> Callable[[], object]:
    """MMDetection's own inference from a file."""
    steps = [dict(t) for t in test_transforms(cfg) if 'LoadAnnotations' not in str(t['type'])]
    pipeline, stream, model.cfg = Compose(steps), itertools.cycle(paths), cfg
    return lambda: inference_detector(model, next(stream), test_pipeline=pipeline)


def _whole(
    detector: Detector, paths: Sequence[str], note: Callable[[dict[str, float]], None]
) -> Callable[[], float]:
    """What calling the detector does, with a look at the clock after each stage."""
    stream = itertools.cycle([Path(path).read_bytes() for path in paths])

    def run() -> float:
        data = next(stream)
        marks = [time.perf_counter()]
        image = read_image(data)
        marks.append(time.perf_counter())
        batch = detector.prepare(image)[None]
        marks.append(time.perf_counter())
        (found,) = detector.run(batch)
        marks.append(time.perf_counter())
        detector.restore(found, image)
        marks.append(time.perf_counter())
        note(dict(zip(STAGES, np.diff(marks).tolist(), strict=True)))
        return marks[-1] - marks[0]

    return run
