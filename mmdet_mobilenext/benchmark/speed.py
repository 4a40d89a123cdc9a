# SPDX-License-Identifier: Apache-2.0
"""Interleaved timing of detectors: training step and inference.

Runs of the candidates alternate (A B C A B C ...), so that a machine that
slows down or speeds up meanwhile hits all of them alike; ratios are taken of
medians.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
import torch.nn as nn
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.optim import build_optim_wrapper
from mmengine.structures import InstanceData

from mmdet_mobilenext.engine.memory_format_hook import to_channels_last
from mmdet_mobilenext.engine.run_header_hook import input_shape_of

__all__ = ['Candidate', 'Timing', 'build_candidate', 'compare', 'time_interleaved']


@dataclass
class Candidate:
    """A detector to time.

    Attributes:
        name (str): Name in the table.
        model (nn.Module): The detector.
        channels_last (bool): Whether weights are laid out in channels_last.
        input_size (int): Height and width in pixels.
    """

    name: str
    model: nn.Module
    channels_last: bool
    input_size: int


@dataclass
class Timing:
    """What was measured of one candidate in one task.

    Attributes:
        name (str): Candidate.
        task (str): ``'train step'`` or ``'inference'``.
        batch_size (int): Images.
        median_ms (float): Median of all runs, milliseconds.
        p95_ms (float): 95th percentile, milliseconds.
        runs (int): Runs counted.
    """

    name: str
    task: str
    batch_size: int
    median_ms: float
    p95_ms: float
    runs: int

    def to_dict(self) -> dict:
        """All fields, for JSON."""
        return asdict(self)


def build_candidate(
    name: str, config: str, num_classes: int = 20, channels_last: bool = True
) -> Candidate:
    """Build a detector from a config file or a config of mmdet.

    Args:
        name (str): Name in the table.
        config (str): Config file, or ``mmdet::...`` for one of mmdet.
        num_classes (int): Number of classes, the same for all candidates.
            Defaults to 20.
        channels_last (bool): Lay out weights in channels_last.
            Defaults to True.

    Returns:
        Candidate: With random weights, and a bias towards the background.
    """
    cfg = get_config(config) if '::' in config else Config.fromfile(config)
    cfg.model.bbox_head.num_classes = num_classes
    model = MODELS.build(cfg.model)
    model.init_weights()
    _expect_background(model.bbox_head)
    if channels_last:
        to_channels_last(model)
    if not hasattr(model.bbox_head, 'loss_cls'):
        # mmdet's SSDHead never sets what its base class reads in predict();
        # without this stock SSDLite cannot run at all.
        model.bbox_head.loss_cls = None
    height, width = input_shape_of(cfg.test_dataloader.dataset.pipeline) or (320, 320)
    if height != width:
        raise ValueError(f'square inputs are timed, but {config} has {width}x{height}')
    return Candidate(name, model, channels_last, height)


def _expect_background(head: nn.Module, logit: float = 5.0) -> None:
    """Give the background channel a head start, as training does.

    With random weights every class of every prior passes the score threshold,
    and NMS of tens of thousands of boxes would be all that is measured.
    """
    for branch in head.cls_convs:
        bias = branch[-1].bias
        with torch.no_grad():
            bias.reshape(-1, head.cls_out_channels)[:, -1] += logit


def make_batch(batch_size: int, input_size: int, num_classes: int = 20, num_boxes: int = 3) -> dict:
    """Random images with random boxes, as a data loader hands them over.

    Args:
        batch_size (int): Images.
        input_size (int): Height and width in pixels.
        num_classes (int): Labels are below it. Defaults to 20.
        num_boxes (int): Boxes in each image. Defaults to 3.

    Returns:
        dict: ``inputs``, list of (3, H, W) uint8, and ``data_samples``.
    """
    generator = torch.Generator().manual_seed(0)
    shape = (input_size, input_size)
    inputs, samples = [], []
    for _ in range(batch_size):
        image = torch.randint(0, 256, (3, *shape), generator=generator, dtype=torch.uint8)
        corners = torch.rand(num_boxes, 2, 2, generator=generator).sort(1).values * input_size
        sample = DetDataSample(
            metainfo=dict(img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0))
        )
        sample.gt_instances = InstanceData(
            bboxes=corners.reshape(-1, 4),
            labels=torch.randint(0, num_classes, (num_boxes,), generator=generator),
        )
        inputs.append(image)
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def train_task(candidate: Candidate, batch: dict) -> Callable[[], None]:
    """A whole training step: preprocessing, forward, loss, backward, SGD.

    Args:
        candidate (Candidate): What to run.
        batch (dict): See :func:`make_batch`.

    Returns:
        Callable: Runs one step.
    """
    model = candidate.model
    optim_wrapper = build_optim_wrapper(
        model,
        dict(
            type='OptimWrapper',
            # The rate of a warm-up's start: weights are random.
            optimizer=dict(type='SGD', lr=1e-4, momentum=0.9, weight_decay=5e-4),
        ),
    )

    def run() -> None:
        model.train()
        model.train_step(batch, optim_wrapper)

    return run


def inference_task(candidate: Candidate, batch: dict) -> Callable[[], None]:
    """A whole prediction: preprocessing, forward, decoding and NMS.

    Args:
        candidate (Candidate): What to run.
        batch (dict): See :func:`make_batch`.

    Returns:
        Callable: Runs one prediction.
    """
    model = candidate.model

    def run() -> None:
        model.eval()
        with torch.inference_mode():
            model.test_step(batch)

    return run


def time_interleaved(
    tasks: Sequence[Callable[[], None]], runs: int, warm_up: int = 3
) -> list[list[float]]:
    """Run tasks in turn and time each run.

    Args:
        tasks (Sequence[Callable]): What to run.
        runs (int): Counted runs of each.
        warm_up (int): Runs of each that are not counted. Defaults to 3.

    Returns:
        list[list[float]]: Milliseconds of each run of each task.

    Example:
        >>> [len(times) for times in time_interleaved([lambda: None] * 2, runs=3)]
        [3, 3]
    """
    synchronize = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    times: list[list[float]] = [[] for _ in tasks]
    for run in range(-warm_up, runs):
        for task, record in zip(tasks, times, strict=True):
            synchronize()
            start = time.perf_counter()
            task()
            synchronize()
            if run >= 0:
                record.append(1000 * (time.perf_counter() - start))
    return times


def compare(
    candidates: Sequence[Candidate],
    batch_sizes: Sequence[int] = (1, 8),
    runs: int = 20,
    progress: Callable[[str], None] = print,
) -> list[Timing]:
    """Time training step and inference of all candidates, interleaved.

    Args:
        candidates (Sequence[Candidate]): What to time.
        batch_sizes (Sequence[int]): Images per run. Batch norm cannot train on
            the single cell of one image's last level: a training step of batch
            1 is measured with norms in eval mode. Defaults to (1, 8).
        runs (int): Counted runs of each. Defaults to 20.
        progress (Callable): Called with a line before each block.

    Returns:
        list[Timing]: Candidate by candidate in each task and batch size.

    Raises:
        ValueError: If the candidates have different input sizes.
    """
    sizes = {candidate.name: candidate.input_size for candidate in candidates}
    if len(set(sizes.values())) != 1:
        raise ValueError(f'candidates are compared at one input size, but have {sizes}')
    input_size = candidates[0].input_size
    timings = []
    for task_name, make_task in (('train step', train_task), ('inference', inference_task)):
        for batch_size in batch_sizes:
            progress(f'{task_name}, batch {batch_size}: {len(candidates)} detectors x {runs} runs')
            batch = make_batch(batch_size, input_size)
            tasks = []
            for candidate in candidates:
                task = make_task(candidate, batch)
                if task_name == 'train step' and batch_size == 1:
                    task = _with_frozen_norms(candidate.model, task)
                tasks.append(task)
            for candidate, times in zip(candidates, time_interleaved(tasks, runs), strict=True):
                timings.append(
                    Timing(
                        name=candidate.name,
                        task=task_name,
                        batch_size=batch_size,
                        median_ms=statistics.median(times),
                        p95_ms=statistics.quantiles(times, n=20)[-1] if runs > 1 else times[0],
                        runs=runs,
                    )
                )
    return timings


def _with_frozen_norms(model: nn.Module, task: Callable[[], None]) -> Callable[[], None]:
    """Keep batch norms in eval mode although the task calls ``train()``."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]

    def run() -> None:
        for norm in norms:
            # `train()` of the model calls that of the norm: shadow it.
            norm.train = lambda mode=True, norm=norm: nn.Module.train(norm, False)
        try:
            task()
        finally:
            for norm in norms:
                del norm.train

    return run
