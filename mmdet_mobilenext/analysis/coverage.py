# SPDX-License-Identifier: Apache-2.0
"""How well priors cover the objects of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from mmdet.models.task_modules import MaxIoUAssigner
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet_mobilenext.benchmark.speed.config_edits import find

from .detectors import LevelPriors
from .objects import Objects

__all__ = ['Coverage', 'assigner_of', 'measure_coverage', 'recall_by_class', 'recall_by_size']

RECALL_IOU = 0.5
"""IoU with its best prior from which on an object counts as covered."""
SIZE_EDGES = (32, 96)
"""Where small, medium and large objects part (COCO): roots of areas, in pixels of the input."""


@dataclass(frozen=True)
class Coverage:
    """What priors make of G objects.

    Attributes:
        best_iou (Tensor): (G,) float32, IoU with the best prior.
        best_level (Tensor): (G,) int64, level of the best prior.
        matched (Tensor | None): (G,) int64, priors that the assigner gives to each object; None if
            its rule is not the IoU.
        matched_levels (Tensor | None): (L,) int64, matched priors of each level.
    """

    best_iou: Tensor
    best_level: Tensor
    matched: Tensor | None
    matched_levels: Tensor | None

    @property
    def recall(self) -> float:
        """float: Share of objects whose best prior has IoU 0.5 or more; NaN without objects."""
        return (self.best_iou >= RECALL_IOU).float().mean().item()


def assigner_of(cfg: Config) -> MaxIoUAssigner | None:
    """Rule by which a config matches priors and objects.

    Args:
        cfg (Config): Config of a run.

    Returns:
        MaxIoUAssigner | None: None if it matches by another rule than the IoU.

    Example:
        >>> assigner_of(Config(dict(model=dict(train_cfg=dict(
        ...     assigner=dict(type='BatchMaxIoUAssigner')))))).pos_iou_thr
        0.5
    """
    train_cfg = cfg.model.get('train_cfg') or {}
    assigner_cfg = find(train_cfg.get('rpn') or train_cfg, 'assigner')
    assigner = TASK_UTILS.build(assigner_cfg) if assigner_cfg else None
    return assigner if isinstance(assigner, MaxIoUAssigner) else None


def measure_coverage(
    priors: LevelPriors, objects: Objects, assigner: MaxIoUAssigner | None = None
) -> Coverage:
    """Compare all objects with all priors.

    Args:
        priors (LevelPriors): Priors of a detector.
        objects (Objects): Objects in pixels of the same input.
        assigner (MaxIoUAssigner, optional): Rule of matching. Defaults to None, nothing is
            matched.

    Returns:
        Coverage: Of each object.

    Example:
        >>> boxes = torch.tensor([[0., 0., 4., 4.], [0., 0., 8., 8.]])
        >>> priors = LevelPriors(boxes, torch.tensor([0, 1]), ((1, 1), (1, 1)), (8, 8))
        >>> objects = Objects.from_lists(['cat'], [torch.tensor([[0., 0., 8., 4.]])], [[0]])
        >>> measure_coverage(priors, objects).best_iou.tolist()
        [0.5]
    """
    num_levels = len(priors.cells)
    best_iou, best_level, matched = [], [], []
    matched_levels = torch.zeros(num_levels, dtype=torch.int64)
    for boxes, labels in objects.by_image():
        iou, index = bbox_overlaps(boxes, priors.boxes).max(1)
        best_iou.append(iou)
        best_level.append(priors.levels[index])
        if assigner is None:
            continue
        result = assigner.assign(
            InstanceData(priors=priors.boxes), InstanceData(bboxes=boxes, labels=labels)
        )
        owner = result.gt_inds - 1
        matched.append(torch.bincount(owner[owner >= 0], minlength=len(boxes)))
        matched_levels += torch.bincount(priors.levels[owner >= 0], minlength=num_levels)
    return Coverage(
        best_iou=torch.cat([torch.zeros(0), *best_iou]),
        best_level=torch.cat([torch.zeros(0, dtype=torch.int64), *best_level]),
        matched=None if assigner is None else torch.cat([torch.zeros(0).long(), *matched]),
        matched_levels=None if assigner is None else matched_levels,
    )


def _rows(
    names: Sequence[str], group: Tensor, coverage: Coverage
) -> dict[str, tuple[int, float | None]]:
    rows = {}
    for index, name in enumerate(names):
        chosen = coverage.best_iou[group == index]
        share = (chosen >= RECALL_IOU).float().mean().item() if len(chosen) else None
        rows[name] = (len(chosen), share)
    return rows


def recall_by_class(objects: Objects, coverage: Coverage) -> dict[str, tuple[int, float | None]]:
    """Recall of the priors at IoU 0.5 for each class.

    Args:
        objects (Objects): The objects.
        coverage (Coverage): Of the same objects.

    Returns:
        dict[str, tuple[int, float | None]]: Number of objects and recall in 0..1, None without.
    """
    return _rows(objects.classes, objects.labels, coverage)


def recall_by_size(
    objects: Objects, coverage: Coverage, edges: Sequence[float] = SIZE_EDGES
) -> dict[str, tuple[int, float | None]]:
    """Recall of the priors at IoU 0.5 by the size of objects.

    Args:
        objects (Objects): The objects.
        coverage (Coverage): Of the same objects.
        edges (Sequence[float]): Where sizes part, roots of areas in pixels of the input,
            ascending. Defaults to COCO's (32, 96).

    Returns:
        dict[str, tuple[int, float | None]]: Number of objects and recall in 0..1, None without.

    Example:
        >>> objects = Objects.from_lists(['cat'], [torch.tensor([[0., 0., 8., 8.]])], [[0]])
        >>> coverage = Coverage(torch.tensor([0.7]), torch.tensor([0]), None, None)
        >>> recall_by_size(objects, coverage, (8,))
        {'below 8 px': (0, None), '8 px and more': (1, 1.0)}
    """
    names = [f'below {edges[0]:g} px']
    names += [f'{low:g} to {high:g} px' for low, high in pairwise(edges)]
    names.append(f'{edges[-1]:g} px and more')
    side = objects.sizes.prod(1).sqrt()
    return _rows(names, torch.bucketize(side, torch.tensor(edges).to(side), right=True), coverage)
