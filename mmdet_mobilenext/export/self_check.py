# SPDX-License-Identifier: Apache-2.0
"""Whether an exported file finds what the network in PyTorch finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from mmdet_mobilenext.runtime import Detector

from .errors import ExportError
from .settings import Selection

__all__ = ['MAX_BOX_DIFFERENCE', 'MAX_SCORE_DIFFERENCE', 'check_export']

MAX_BOX_DIFFERENCE = 0.5
"""In pixels of the network's input."""
MAX_SCORE_DIFFERENCE = 1e-3


def check_export(
    path: Path, backend: str | None, network: nn.Module, chosen: Selection, num_images: int = 2
) -> None:
    """Run a file on images of noise and compare its detections with those of PyTorch.

    Args:
        path (Path): Exported file.
        backend (str, optional): See :class:`~mmdet_mobilenext.runtime.Detector`.
        network (nn.Module): :class:`~.network.DeployableDetector`.
        chosen (Selection): Thresholds of the file.
        num_images (int): Defaults to 2.

    Raises:
        ExportError: If boxes differ by more than half a pixel or scores by more than 1e-3, in
            detections whose score is not at a threshold.
    """
    from .selection import select_detections

    detector = Detector(path, backend=backend)
    width, height = detector.size
    rng = np.random.default_rng(0)
    # smooth noise: what looks like nothing at all leaves every score at its prior
    coarse = rng.integers(0, 256, (num_images, 9, 9, 3)).astype(np.float32)
    images = torch.nn.functional.interpolate(
        torch.from_numpy(coarse).permute(0, 3, 1, 2), (height, width), mode='bilinear'
    )
    images = images.round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()
    with torch.no_grad():
        boxes, scores = network(images)
    most = min(chosen.max_per_img, scores.shape[1] * scores.shape[2])
    wanted = select_detections(boxes, scores, chosen.score_thr, chosen.iou_thr, most)
    found = detector.run(images.numpy())
    for number, (box, score, label) in enumerate(zip(*(w.numpy() for w in wanted), strict=True)):
        problem = _difference(found[number], (box, score, label), chosen.score_thr)
        if problem:
            raise ExportError(
                f'{path.name} computes something else than PyTorch in image {number} of noise: '
                f'{problem}. Nothing was written; please report it with the config'
            )


def _difference(found: tuple, wanted: tuple, score_thr: float) -> str:
    """What is wrong with the detections of an image, or nothing."""
    boxes, scores, labels = found
    # the last of a full list may lose its place to one that is equal but for rounding
    limit = max(score_thr, wanted[1][-1], scores[-1] if len(scores) == len(wanted[1]) else 0)
    for box, score, label in zip(*wanted, strict=True):
        if score <= limit + MAX_SCORE_DIFFERENCE:
            continue
        same = (labels == label) & (np.abs(scores - score) <= MAX_SCORE_DIFFERENCE)
        if not same.any() or np.abs(boxes[same] - box).max(1).min() > MAX_BOX_DIFFERENCE:
            return (
                f'no detection of class {label} with score {score:.4f} at '
                f'{np.round(box, 1).tolist()}'
            )
    return ''
