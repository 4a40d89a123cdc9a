# SPDX-License-Identifier: Apache-2.0
"""Whether an exported file finds what the network in PyTorch finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from mmdet.evaluation import bbox_overlaps
from torch import nn

from mmdet_mobilenext.runtime import Detector, ModelSpec

from .errors import ExportError

__all__ = ['MAX_BOX_DIFFERENCE', 'MAX_SCORE_DIFFERENCE', 'check_export']

MAX_BOX_DIFFERENCE = 0.5
"""In pixels of the network's input."""
MAX_SCORE_DIFFERENCE = 1e-3
# so near to the threshold of NMS rounding decides
_MAX_IOU_DIFFERENCE = 0.01


def check_export(path: Path, network: nn.Module, spec: ModelSpec, num_images: int = 2) -> None:
    """Run a file on images of noise and compare its detections with those of PyTorch.

    Args:
        path (Path): Exported file.
        network (nn.Module): :class:`~.network.DeployableDetector`.
        spec (ModelSpec): Thresholds of the file.
        num_images (int): Defaults to 2.

    Raises:
        ExportError: If one of both has a detection that the other has not within half a pixel and
            1e-3 of score, unless its score or its overlap is at a threshold.
    """
    from .selection import select_detections

    detector = Detector(path)
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
    wanted = select_detections(boxes, scores, spec.score_thr, spec.iou_thr, spec.max_per_img)
    found = detector.run(images.numpy())
    for number, (box, score, label) in enumerate(zip(*(w.numpy() for w in wanted), strict=True)):
        problem = _difference(found[number], (box, score, label), spec)
        if problem:
            raise ExportError(
                f'{path.name} computes something else than PyTorch in image {number} of noise: '
                f'{problem}. Nothing was written; please report it with the config'
            )


def _difference(found: tuple, wanted: tuple, spec: ModelSpec) -> str:
    """What is wrong with the detections of an image, or nothing."""
    # the last of a full list may lose its place to one that is equal but for rounding
    is_full = len(found[1]) == len(wanted[1])
    limit = max(spec.score_thr, wanted[1][-1], found[1][-1] if is_full else 0)
    for ones, others, who in ((wanted, found, 'the file'), (found, wanted, 'PyTorch')):
        for box, score, label in zip(*ones, strict=True):
            if score > limit + MAX_SCORE_DIFFERENCE and not _is_in(
                others, box, score, label, spec.iou_thr
            ):
                return (
                    f'{who} has no detection of class {label} with score {score:.4f} at '
                    f'{np.round(box, 1).tolist()}'
                )
    return ''


def _is_in(others: tuple, box: np.ndarray, score: float, label: int, iou_thr: float) -> bool:
    """Whether a detection is among others, or may be missing by rounding."""
    boxes, scores, labels = others
    near = (np.abs(scores - score) <= MAX_SCORE_DIFFERENCE) & (
        np.abs(boxes - box).max(-1) <= MAX_BOX_DIFFERENCE
    )
    iou = bbox_overlaps(box[None], boxes)[0]
    at_threshold = np.abs(iou - iou_thr) <= _MAX_IOU_DIFFERENCE
    return bool(((labels == label) & (near | at_threshold)).any())
