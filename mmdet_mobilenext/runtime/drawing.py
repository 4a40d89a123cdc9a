# SPDX-License-Identifier: Apache-2.0
"""Detections drawn into pictures by supervision, in one colour for each class."""

from __future__ import annotations

import numpy as np

from .detections import Detections
from .errors import RuntimeMissingError

__all__ = ['draw']


def draw(image_bgr: np.ndarray, detections: Detections, score_thr: float = 0.0) -> np.ndarray:
    """Draw boxes with class names and scores.

    Args:
        image_bgr (np.ndarray): (H, W, 3) uint8; stays as it is.
        detections (Detections): In pixels of the image.
        score_thr (float): Detections below are left out. Defaults to 0.

    Returns:
        np.ndarray: A copy, drawn into.

    Raises:
        RuntimeMissingError: If supervision is not installed.
    """
    try:
        import supervision
    except ImportError as error:
        raise RuntimeMissingError(
            'supervision is not installed: `pip install supervision`'
        ) from error
    shown = detections.above(score_thr)
    found = shown.to_supervision()
    size = shown.size
    width = supervision.calculate_optimal_line_thickness(size)
    image = supervision.BoxAnnotator(thickness=width).annotate(image_bgr.copy(), found)
    labels = [
        f'{name} {score:.2f}' for name, score in zip(shown.names(), shown.scores, strict=True)
    ]
    annotator = supervision.LabelAnnotator(
        text_scale=supervision.calculate_optimal_text_scale(size),
        text_padding=3,
        smart_position=True,
    )
    return annotator.annotate(image, found, labels)
