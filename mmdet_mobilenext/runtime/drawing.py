# SPDX-License-Identifier: Apache-2.0
"""Draw detections with supervision's annotators."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .detections import Detections
from .errors import RuntimeMissingError

__all__ = ['DetectionDrawer']

_GOLDEN = 0.618033988749895  # turns of this share of the circle come close to none before
_MOST_APART = 50  # captions
_CAPTION_BRIGHTNESS = 140  # of a colour, from which black can be read on it better than white


class DetectionDrawer:
    """Draws boxes with class names and scores; each class has its colour in every image.

    Args:
        classes (Sequence[str]): Names of all classes of the detector.

    Raises:
        RuntimeMissingError: If supervision is not installed.

    Example:
        >>> found = Detections(np.array([[8, 24, 50, 60.]], 'float32'), np.array([.9], 'float32'),
        ...                    np.array([1]), ('cat', 'dog'), (64, 64))
        >>> image = np.zeros((64, 64, 3), 'uint8')
        >>> drawn = DetectionDrawer(found.classes)(image, found)
        >>> bool(drawn.any()), bool(image.any())
        (True, False)
    """

    def __init__(self, classes: Sequence[str]) -> None:
        try:
            import supervision as sv
        except ImportError as error:
            raise RuntimeMissingError(
                f'drawing needs supervision ({error}): `pip install supervision`'
            ) from error
        self._sv = sv
        colours = [_colour(k) for k in range(max(len(classes), 1))]
        captions = [_caption_colour(colour) for colour in colours]
        self._palette = sv.ColorPalette([sv.Color(*colour) for colour in colours])
        self._caption_palette = sv.ColorPalette([sv.Color(*colour) for colour in captions])

    def __call__(self, image: np.ndarray, found: Detections) -> np.ndarray:
        """Draw on a copy.

        Args:
            image (np.ndarray): (H, W, 3) uint8, BGR.
            found (Detections): In pixels of this image.

        Returns:
            np.ndarray: The copy.
        """
        sv = self._sv
        size = image.shape[1], image.shape[0]
        thickness = sv.calculate_optimal_line_thickness(size)
        captions = [
            f'{name} {score:.2f}' for name, score in zip(found.names(), found.scores, strict=True)
        ]
        detections = found.to_supervision()
        drawn = sv.BoxAnnotator(color=self._palette, thickness=thickness).annotate(
            image.copy(), detections
        )
        return sv.LabelAnnotator(
            color=self._palette,
            text_color=self._caption_palette,
            # Keeps captions inside and apart; of very many that takes longer than detection.
            smart_position=len(found) <= _MOST_APART,
            text_scale=max(0.35, sv.calculate_optimal_text_scale(size)),
            text_thickness=max(1, thickness // 2),
            text_padding=2 + thickness,
        ).annotate(drawn, detections, captions)


def _colour(index: int) -> tuple[int, int, int]:
    """RGB of a class."""
    import colorsys

    # Three steps of brightness keep neighbours in hue apart where there are many classes.
    value = (0.95, 0.75, 0.85)[index % 3]
    return tuple(round(255 * v) for v in colorsys.hsv_to_rgb(index * _GOLDEN % 1, 0.8, value))


def _caption_colour(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """Black or white, which can be read on a colour."""
    brightness = np.dot(colour, (0.299, 0.587, 0.114))
    return (0, 0, 0) if brightness > _CAPTION_BRIGHTNESS else (255, 255, 255)
