# SPDX-License-Identifier: Apache-2.0
"""What a detector found in one image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import supervision

__all__ = ['Detections']


@dataclass(frozen=True)
class Detections:
    """Boxes, scores and labels of one image, best first. Unpacks into these three.

    Args:
        boxes (np.ndarray): (n, 4) float32, xyxy in pixels of the image that was given.
        scores (np.ndarray): (n,) float32 in 0..1.
        labels (np.ndarray): (n,) int64, indices into ``classes``.
        classes (tuple[str, ...]): Names of all classes of the detector.
        size (tuple[int, int]): Width and height of the image in pixels.

    Example:
        >>> found = Detections(np.array([[1, 2, 3, 4.]], 'float32'), np.array([.9], 'float32'),
        ...                    np.array([1]), ('cat', 'dog'), (8, 8))
        >>> boxes, scores, labels = found
        >>> found.records()
        [{'label': 'dog', 'score': 0.9, 'box': [1.0, 2.0, 3.0, 4.0]}]
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    size: tuple[int, int]

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter((self.boxes, self.scores, self.labels))

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, score_thr: float) -> Detections:
        """Those of at least a score.

        Args:
            score_thr (float): In 0..1.

        Returns:
            Detections: Without the others.
        """
        keep = self.scores >= score_thr
        return Detections(
            self.boxes[keep], self.scores[keep], self.labels[keep], self.classes, self.size
        )

    def names(self) -> list[str]:
        """Class names of the detections.

        Returns:
            list[str]: One for each.
        """
        return [self.classes[label] for label in self.labels]

    def records(self) -> list[dict]:
        """Detections as plain Python, for JSON and CSV.

        Returns:
            list[dict]: ``label`` (str), ``score`` (float, six digits) and ``box`` (four floats,
            xyxy in pixels, two digits) of each.
        """
        return [
            dict(
                label=name,
                score=round(float(score), 6),
                box=[round(float(value), 2) for value in box],
            )
            for name, score, box in zip(self.names(), self.scores, self.boxes, strict=True)
        ]

    def to_supervision(self) -> supervision.Detections:
        """For supervision's annotators and trackers.

        Returns:
            supervision.Detections: With ``class_name`` in its data.

        Raises:
            RuntimeMissingError: If supervision is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            from .errors import RuntimeMissingError

            raise RuntimeMissingError(
                'supervision is not installed: `pip install supervision`'
            ) from error
        return supervision.Detections(
            xyxy=self.boxes,
            confidence=self.scores,
            class_id=self.labels,
            data={'class_name': np.array(self.names(), dtype=object)},
        )
