# SPDX-License-Identifier: Apache-2.0
"""Priors for the objects of a data set of one's own, by k-means with the IoU as distance.

The distance is that of YOLOv2 (https://arxiv.org/abs/1612.08242, section 2) and of mmdet's
``optimize_anchors.py``. That tool hands out boxes for YOLO; here clusters become what
``SSDLitePriorGenerator`` takes, min and max sizes and ratios of each level.

Clusters know nothing of the grid, on which small priors are sparse. So sizes are then refined by
what the priors of the whole grid cover.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import Config
from scipy.optimize import minimize
from torch import Tensor

from mmdet_mobilenext.benchmark.speed.config_edits import find
from mmdet_mobilenext.engine.environment import OptionError
from mmdet_mobilenext.models import SSDLitePriorGenerator

from .coverage import RECALL_IOU, SIZE_EDGES, assigner_of, measure_coverage
from .coverage_report import coverage_summary
from .detectors import LevelPriors, build_detector, dense_head, input_size, priors_of
from .objects import Objects, annotated_objects, augmented_objects

__all__ = ['compare_priors', 'config_lines', 'fit_priors', 'iou_kmeans', 'refine_priors']


def _centred(sizes: Tensor) -> Tensor:
    return torch.cat([-sizes / 2, sizes / 2], 1)


def iou_kmeans(sizes: Tensor, num_clusters: int, seed: int = 0, iters: int = 300) -> Tensor:
    """Cluster widths and heights; the distance is 1 - IoU of boxes with one centre.

    Starts as k-means++ does. A centre is the geometric mean of its boxes: one of twice the size is
    as far from it as one of half.

    Args:
        sizes (Tensor): (G, 2), widths and heights, positive.
        num_clusters (int): Clusters.
        seed (int): Seed of the start. Defaults to 0.
        iters (int): Most iterations. Defaults to 300.

    Returns:
        Tensor: (num_clusters, 2), sorted by area; the ones with the best mean IoU that were met.

    Raises:
        OptionError: If there are fewer different boxes than clusters.

    Example:
        >>> sizes = torch.tensor([[10., 10.], [10., 10.2], [40., 80.], [40., 80.4]])
        >>> iou_kmeans(sizes, 2).round().tolist()
        [[10.0, 10.0], [40.0, 80.0]]
    """
    if len(sizes.unique(dim=0)) < num_clusters:
        raise OptionError(
            f'{num_clusters} clusters need at least as many different boxes, but there are '
            f'{len(sizes.unique(dim=0))}: take more images or fewer levels'
        )
    generator = torch.Generator().manual_seed(seed)
    boxes = _centred(sizes)
    centres = sizes[torch.randint(len(sizes), (1,), generator=generator)]
    while len(centres) < num_clusters:
        far = (1 - bbox_overlaps(boxes, _centred(centres)).amax(1)).clamp(min=0) ** 2
        centres = torch.cat([centres, sizes[far.multinomial(1, generator=generator)]])
    best, best_iou, before = centres, -1.0, None
    for _ in range(iters):
        iou, nearest = bbox_overlaps(boxes, _centred(centres)).max(1)
        if iou.mean().item() > best_iou:
            best, best_iou = centres, iou.mean().item()
        if before is not None and torch.equal(nearest, before):
            break
        before = nearest
        centres = torch.stack(
            [
                sizes[nearest == k].log().mean(0).exp() if (nearest == k).any() else centres[k]
                for k in range(num_clusters)
            ]
        )
    return best[best.prod(1).argsort()]


def fit_priors(
    sizes: Tensor,
    strides: Sequence[tuple[int, int]],
    num_ratios: Sequence[int],
    size: tuple[int, int],
    seed: int = 0,
) -> dict[str, Any]:
    """Fit min and max sizes and ratios of each level.

    The generator has each ratio lying and standing, so boxes are clustered by their longer and
    shorter side. There is a cluster for each level; the root of its area is the level's min size,
    not below the level's stride: smaller priors would leave gaps. The max size is the next level's
    min size, that of the last level the input's. Ratios are clustered among the objects of the
    level, in the same way, or among all where the level has fewer shapes than ratios.

    Args:
        sizes (Tensor): (G, 2), widths and heights of objects in pixels of the input.
        strides (Sequence[tuple[int, int]]): Strides (w, h) of the levels in pixels.
        num_ratios (Sequence[int]): Ratios of each level; with as many as before the head's
            channels stay what they are.
        size (tuple[int, int]): Height and width of the input in pixels.
        seed (int): Seed of the clustering. Defaults to 0.

    Returns:
        dict: Config of an ``SSDLitePriorGenerator``.

    Raises:
        OptionError: If there are too few objects.

    Example:
        >>> sizes = torch.rand(200, 2, generator=torch.Generator().manual_seed(0)) * 100 + 20
        >>> priors = fit_priors(sizes, [(16, 16), (32, 32)], [1, 1], (128, 128))
        >>> priors['strides'], len(priors['min_sizes']), priors['max_sizes'][-1]
        ([16, 32], 2, 128)
    """
    folded = torch.stack([sizes.amax(1), sizes.amin(1)], 1)
    centres = iou_kmeans(folded, len(strides), seed)
    levels = bbox_overlaps(_centred(folded), _centred(centres)).argmax(1)
    least = torch.tensor([float(min(stride)) for stride in strides])
    min_sizes = torch.maximum(centres.prod(1).sqrt(), least).round().int().tolist()
    for level in range(1, len(min_sizes)):  # sizes rise from level to level
        min_sizes[level] = max(min_sizes[level], min_sizes[level - 1] + 1)
    ratios = []
    ratio = (folded[:, 0] / folded[:, 1]).clamp(min=1.1)
    # of boxes with one height the IoU is that of their ratios
    all_shapes = torch.stack([ratio, torch.ones_like(ratio)], 1)
    for level, count in enumerate(num_ratios):
        mine = all_shapes[levels == level]
        shapes = mine if len(mine.unique(dim=0)) >= count else all_shapes
        found = iou_kmeans(shapes, count, seed)[:, 0].tolist() if count else []
        ratios.append([round(value, 1) for value in found])
    return dict(
        type='SSDLitePriorGenerator',
        input_size=size[0] if size[0] == size[1] else tuple(size[::-1]),
        strides=[w if w == h else (w, h) for w, h in strides],
        min_sizes=min_sizes,
        max_sizes=[*min_sizes[1:], max(*size, min_sizes[-1] + 1)],
        ratios=ratios,
    )


def refine_priors(
    priors: dict[str, Any],
    objects: Objects,
    old: LevelPriors,
    evaluations: int = 200,
    most_objects: int = 400,
) -> tuple[dict[str, Any], float]:
    """Move min and max sizes so that more objects have a prior with IoU 0.5.

    Nelder and Mead's method on the logarithms of sizes. Each object counts by a sigmoid of its best
    IoU about 0.5, 0.05 wide: a recall without steps.

    Args:
        priors (dict): Config of an ``SSDLitePriorGenerator`` to start from.
        objects (Objects): Objects to cover.
        old (LevelPriors): Tells the cells of the levels.
        evaluations (int): Most sets of priors to try. Defaults to 200.
        most_objects (int): Objects to look at, evenly spread. Defaults to 400.

    Returns:
        tuple[dict, float]: Config of the priors with sizes in whole pixels, and the mean of what
        objects count, in 0..1; never less than that of ``priors``.
    """
    boxes = objects.boxes[:: max(1, len(objects.boxes) // most_objects)]

    def with_sizes(logarithms: np.ndarray) -> dict[str, Any]:
        sizes = [min(max(1, round(math.exp(value))), max(old.size)) for value in logarithms]
        levels = len(sizes) // 2
        return {**priors, 'min_sizes': sizes[:levels], 'max_sizes': sizes[levels:]}

    def score(candidate: dict[str, Any]) -> float:
        grids = TASK_UTILS.build(candidate).grid_priors(old.cells, device='cpu')
        best = bbox_overlaps(boxes, torch.cat(grids)).amax(1)
        return torch.sigmoid((best - RECALL_IOU) / 0.05).mean().item()

    start = [math.log(size) for size in (*priors['min_sizes'], *priors['max_sizes'])]
    found = minimize(
        lambda x: -score(with_sizes(x)),
        start,
        method='Nelder-Mead',
        options={'maxfev': evaluations},
    )
    refined = with_sizes(found.x)
    return max(((c, score(c)) for c in (priors, refined)), key=lambda pair: pair[1])


def compare_priors(
    cfg: Config,
    on: str = 'augmented',
    held_out: str = 'val',
    number: int | None = None,
    seed: int = 0,
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Fit priors to the training objects, and compare them with the config's on other images.

    The clusters of :func:`fit_priors` and the config's own priors are both refined, and those that
    cover the training objects better are taken.

    Args:
        cfg (Config): Config of a detector with an ``SSDLitePriorGenerator``.
        on (str): Fit to objects as ``'annotated'`` or as ``'augmented'``.
            Defaults to ``'augmented'``.
        held_out (str): ``'val'`` or ``'test'``, the set to compare on. Defaults to ``'val'``.
        number (int, optional): Images of each set. Defaults to None, all.
        seed (int): Seed of images, augmentation and clusters. Defaults to 0.

    Returns:
        tuple[dict, dict[str, dict]]: Config of the fitted priors, and what
        :func:`~.coverage_report.coverage_summary` says of the ``'config'`` and the ``'fitted'``
        ones.

    Raises:
        DataCheckError, OptionError: If data are missing, or the priors are of another kind.
    """
    size = input_size(cfg)
    model = build_detector(cfg)
    generator = dense_head(model).prior_generator
    if type(generator) is not SSDLitePriorGenerator:
        raise OptionError(
            f'priors are fitted for an SSDLitePriorGenerator, but received a '
            f'{type(generator).__name__}'
        )
    old = priors_of(model, size)
    if on == 'augmented':
        objects = augmented_objects(cfg, number, seed)
    else:
        objects = annotated_objects(cfg, 'train', size, number, seed)
    num_ratios = [(count - 2) // 2 for count in generator.num_base_priors]
    clustered = fit_priors(objects.sizes, generator.strides, num_ratios, size, seed)
    given = find(cfg.model, 'anchor_generator').to_dict()
    starts = (given, clustered)
    fitted, _ = max((refine_priors(s, objects, old) for s in starts), key=lambda pair: pair[1])
    grids = TASK_UTILS.build(fitted).grid_priors(old.cells, device='cpu')
    new = LevelPriors(torch.cat(grids), old.levels, old.cells, size)
    others = annotated_objects(cfg, held_out, size, number, seed)
    assigner = assigner_of(cfg)
    summaries = {
        name: coverage_summary(others, measure_coverage(priors, others, assigner), SIZE_EDGES)
        for name, priors in (('config', old), ('fitted', new))
    }
    return fitted, summaries


def config_lines(priors: dict[str, Any]) -> str:
    """The lines of a config that make these priors.

    Args:
        priors (dict): Of :func:`fit_priors`.

    Returns:
        str: Python, to be pasted into a config that inherits the rest.

    Example:
        >>> print(config_lines(dict(strides=[8], min_sizes=[16], ratios=[[2.0, 3.5]])))
        model = dict(
            bbox_head=dict(
                anchor_generator=dict(
                    strides=[8],
                    min_sizes=[16],
                    ratios=[[2.0, 3.5]],
                )
            )
        )
    """
    values = [f'            {key}={value!r},' for key, value in priors.items()]
    opened = ['model = dict(', '    bbox_head=dict(', '        anchor_generator=dict(']
    return '\n'.join([*opened, *values, '        )', '    )', ')'])
