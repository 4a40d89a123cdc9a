# SPDX-License-Identifier: Apache-2.0
"""Whether exported files find on a test set what the detector in PyTorch finds."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.evaluation import bbox_overlaps
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from rich.progress import track
from scipy.optimize import linear_sum_assignment

from mmdet_mobilenext.benchmark.cost import load_detector
from mmdet_mobilenext.checksum import sha256_of
from mmdet_mobilenext.datasets.checks import check_dataset_cfgs
from mmdet_mobilenext.engine.test_exported import exported_config
from mmdet_mobilenext.engine.train import check_load_from
from mmdet_mobilenext.evaluation.exported_detector import ExportedDetector

from .errors import ExportError

__all__ = ['Comparison', 'compare_files', 'pair_detections']

MAX_BOX_DIFFERENCE = 0.5
"""In pixels of the original image."""
MAX_SCORE_DIFFERENCE = 1e-3
LEAST_SHARE = 0.999
MAX_METRIC_DIFFERENCE = 1e-3
# the metrics are rounded to three digits
_ROUNDING = 1e-9
_MOST_EXAMPLES = 10


@dataclass
class Comparison:
    """One file with one size of batch against PyTorch.

    Attributes:
        path (str): The file.
        backend (str): What ran it.
        batch (int): Images of a run.
        score_thr (float): Detections above it are compared.
        sha256 (str): Of the file.
        images (int): How many there were.
        detections (int): Above ``score_thr`` in either; a pair counts once.
        agreeing (int): Pairs with boxes within :data:`MAX_BOX_DIFFERENCE` and scores within
            :data:`MAX_SCORE_DIFFERENCE`.
        only_eager (int): Detections of PyTorch without a partner.
        only_file (int): Detections of the file without a partner.
        max_box_difference (float): Of pairs, in pixels of the original image.
        max_score_difference (float): Of pairs.
        examples (list[dict]): Some that do not agree.
        eager (dict[str, float]): Metrics of the config from the predictions of PyTorch.
        file (dict[str, float]): The same from those of the file.
    """

    path: str
    backend: str
    batch: int
    score_thr: float
    sha256: str = ''
    images: int = 0
    detections: int = 0
    agreeing: int = 0
    only_eager: int = 0
    only_file: int = 0
    max_box_difference: float = 0.0
    max_score_difference: float = 0.0
    examples: list[dict[str, Any]] = field(default_factory=list)
    eager: dict[str, float] = field(default_factory=dict)
    file: dict[str, float] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """float: Of the detections, those that agree; NaN without any."""
        return self.agreeing / self.detections if self.detections else float('nan')

    @property
    def metric_difference(self) -> float:
        """float: Largest difference of a metric."""
        return max((abs(self.eager[key] - self.file[key]) for key in self.eager), default=0.0)

    @property
    def passes(self) -> bool:
        """bool: Whether share and metrics are good; not without detections."""
        is_close = self.metric_difference <= MAX_METRIC_DIFFERENCE + _ROUNDING
        return self.share >= LEAST_SHARE and is_close

    def to_dict(self) -> dict[str, Any]:
        """All fields and what follows from them, for JSON."""
        share = self.share if self.detections else None
        derived = dict(metric_difference=self.metric_difference, passes=self.passes)
        return dict(asdict(self), share=share, **derived)

    def add(self, image: str, wanted: tuple, found: tuple) -> None:
        """Count an image.

        Args:
            image (str): Its name.
            wanted (tuple[np.ndarray]): Boxes, scores and labels of PyTorch.
            found (tuple[np.ndarray]): Those of the file.
        """
        self.images += 1
        pairs, alone, others = pair_detections(wanted, found, self.score_thr)
        for one, other in pairs:
            box = float(np.abs(wanted[0][one] - found[0][other]).max())
            score = abs(float(wanted[1][one]) - float(found[1][other]))
            self.max_box_difference = max(self.max_box_difference, box)
            self.max_score_difference = max(self.max_score_difference, score)
            if box <= MAX_BOX_DIFFERENCE and score <= MAX_SCORE_DIFFERENCE:
                self.agreeing += 1
            else:
                self._note(image, eager=_told(wanted, one), file=_told(found, other))
        for one in alone:
            self._note(image, eager=_told(wanted, one))
        for other in others:
            self._note(image, file=_told(found, other))
        self.only_eager += len(alone)
        self.only_file += len(others)
        self.detections += len(pairs) + len(alone) + len(others)

    def _note(self, image: str, **what: dict) -> None:
        if len(self.examples) < _MOST_EXAMPLES:
            self.examples.append(dict(image=image, **what))


def _told(found: tuple, number: int) -> dict[str, Any]:
    box, score, label = (part[number] for part in found)
    return dict(box=box.round(2).tolist(), score=round(float(score), 5), label=int(label))


def pair_detections(
    wanted: tuple, found: tuple, score_thr: float
) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """Pair detections of an image one to one, within classes, for the largest sum of IoUs.

    A detection at the threshold may lie below it in one of both: it is looked for there as well.

    Args:
        wanted (tuple[np.ndarray]): Boxes (n, 4) xyxy, scores (n,) and labels (n,).
        found (tuple[np.ndarray]): The same of the other one.
        score_thr (float): What has a larger score in either must have a partner.

    Returns:
        tuple: Pairs (with IoU above 0.5) of indices, and indices without a partner of each.

    Example:
        >>> one = np.array([[0, 0, 9, 9.]]), np.array([0.9]), np.array([1])
        >>> two = np.array([[0, 0, 9, 8.], [0, 0, 9, 9.]]), np.array([0.9, 0.8]), np.array([1, 2])
        >>> pair_detections(one, two, 0.5)
        ([(0, 0)], [], [1])
    """
    near = score_thr - MAX_SCORE_DIFFERENCE
    ours, theirs = (np.flatnonzero(scores > near) for _, scores, _ in (wanted, found))
    iou = bbox_overlaps(wanted[0][ours], found[0][theirs])
    iou = np.where(wanted[2][ours][:, None] == found[2][theirs][None], iou, 0)
    pairs = [
        (int(ours[row]), int(theirs[column]))
        for row, column in zip(*linear_sum_assignment(iou, maximize=True), strict=True)
        if iou[row, column] > 0.5
    ]
    above = [set(np.flatnonzero(scores > score_thr).tolist()) for _, scores, _ in (wanted, found)]
    alone = sorted(above[0] - {one for one, _ in pairs})
    others = sorted(above[1] - {other for _, other in pairs})
    return [p for p in pairs if p[0] in above[0] or p[1] in above[1]], alone, others


def compare_files(
    cfg: Config,
    checkpoint: str,
    files: Sequence[tuple[str, str | None]],
    num_images: int = 500,
    batch_sizes: Sequence[int] = (1, 8),
    score_thr: float = 0.05,
    threads: int | None = None,
) -> list[Comparison]:
    """Run the detector and files on the same images of the test set.

    Args:
        cfg (Config): Config of the detector, see ``load_config``.
        checkpoint (str): Its weights.
        files (Sequence[tuple[str, str | None]]): Exported files, and the backend of each or None.
        num_images (int): Images from the beginning of the test set. Defaults to 500.
        batch_sizes (Sequence[int]): Images of a run. A file of a fixed batch is run with its own
            one. Defaults to (1, 8).
        score_thr (float): Detections above it are compared. Defaults to 0.05.
        threads (int, optional): CPU threads. Defaults to those of PyTorch.

    Returns:
        list[Comparison]: Of each file and size of batch that it can be run with.

    Raises:
        ExportError: If a file was exported for another size or other thresholds.
        CheckpointKeyError, DataCheckError, FileNotFoundError, ModelFileError, OptionError: Before
            any work.
    """
    if num_images < 1 or not batch_sizes or min(batch_sizes) < 1:
        raise ExportError(
            f'images and batch sizes must be at least 1, but received {num_images} and '
            f'{list(batch_sizes)}'
        )
    check_load_from(checkpoint)
    check_dataset_cfgs(cfg, roles=('test',)).raise_if_bad()
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    plan: dict[int, list[tuple[Comparison, ExportedDetector]]] = {}
    for path, backend in files:
        _, notes = exported_config(cfg, path, backend, threads)
        if notes:
            raise ExportError(f'{"; ".join(notes)}: it must find something else than the config')
        network = ExportedDetector(path, backend, threads)
        batch, name = network.detector.spec.batch, network.detector.backend
        for size in batch_sizes if batch is None else [batch]:
            row = Comparison(str(path), name, size, score_thr, sha256_of(path))
            plan.setdefault(size, []).append((row, network))
    model = load_detector(cfg, checkpoint)[1]
    for size, rows in sorted(plan.items()):
        _compare(cfg, model, rows, size, num_images)
    return [row for size in sorted(plan) for row, _ in plan[size]]


def _compare(
    cfg: Config,
    model: torch.nn.Module,
    rows: Sequence[tuple[Comparison, ExportedDetector]],
    batch: int,
    num_images: int,
) -> None:
    """Fill rows with what is found in batches of a size."""
    loader = Runner.build_dataloader(
        {**copy.deepcopy(cfg.test_dataloader), 'batch_size': batch, 'drop_last': False}
    )
    networks = [model, *(network for _, network in rows)]
    evaluators = [Evaluator(copy.deepcopy(cfg.test_evaluator)) for _ in networks]
    for evaluator in evaluators:
        evaluator.dataset_meta = loader.dataset.metainfo
    steps = -(-min(num_images, len(loader.dataset)) // batch)
    seen = 0
    for data in track(
        itertools.islice(loader, steps), f'batches of {batch}', total=steps, transient=True
    ):
        found = []
        for network, evaluator in zip(networks, evaluators, strict=True):
            with torch.inference_mode():
                samples = network.test_step(copy.deepcopy(data))
            evaluator.process(samples, data)
            found.append(samples)
        seen += len(found[0])
        for (row, _), samples in zip(rows, found[1:], strict=True):
            for image, one, other in zip(
                found[0], _arrays(found[0]), _arrays(samples), strict=True
            ):
                row.add(Path(image.img_path).name, one, other)
    metrics = [_numbers(evaluator.evaluate(seen)) for evaluator in evaluators]
    for (row, _), found_metrics in zip(rows, metrics[1:], strict=True):
        row.eager, row.file = metrics[0], found_metrics


def _arrays(samples: Sequence) -> Iterator[tuple[np.ndarray, ...]]:
    for sample in samples:
        found = sample.pred_instances.cpu()
        yield found.bboxes.numpy(), found.scores.numpy(), found.labels.numpy()


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in metrics.items() if np.isfinite(value)}
