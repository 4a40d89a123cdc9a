# SPDX-License-Identifier: Apache-2.0
"""What an exported file says of itself: classes, size, thresholds, where it comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .errors import ModelFileError

__all__ = ['COLORS', 'FORMAT', 'KEY', 'KINDS', 'PRECISIONS', 'ModelSpec']

KEY = 'mmdet_mobilenext'
"""Name of the entry in the metadata of a file."""
FORMAT = 1
COLORS = ('bgr', 'rgb')
KINDS = ('detections', 'raw')
PRECISIONS = ('float32', 'int8')
# far above any use; a file of a stranger must not ask for all memory
_MOST_PIXELS = 1 << 24
_MOST_CLASSES = 100_000
_MOST_TEXT = 1 << 22


@dataclass(frozen=True)
class ModelSpec:
    """What is needed to run an exported file, from its metadata.

    Args:
        classes (tuple[str, ...]): Class names, in the order of the labels.
        size (tuple[int, int]): Width and height of the input in pixels; images are stretched to it.
        color (str): Order of the input's channels, ``'bgr'`` or ``'rgb'``.
        kind (str): ``'detections'``, with NMS inside, or ``'raw'``: decoded boxes and scores of all
            priors, without NMS.
        score_thr (float): Detections have a larger score.
        iou_thr (float): NMS drops a box with a larger IoU with a better one of its class.
        max_per_img (int): Most detections of an image.
        batch (int, optional): Images of a run, or None for any number.
        precision (str): ``'float32'`` or ``'int8'``. Defaults to ``'float32'``.
        provenance (dict): Config, checkpoint, versions; for people. Defaults to nothing.

    Raises:
        ModelFileError: For a value that cannot be.

    Example:
        >>> spec = ModelSpec(('cat',), (320, 320), 'bgr', 'raw', 0.01, 0.45, 100)
        >>> ModelSpec.from_json(spec.to_json()) == spec
        True
    """

    classes: tuple[str, ...]
    size: tuple[int, int]
    color: str
    kind: str
    score_thr: float
    iou_thr: float
    max_per_img: int
    batch: int | None = None
    precision: str = 'float32'
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check every value."""

        def whole(value: object, most: int) -> bool:
            return type(value) is int and 1 <= value <= most

        def share(value: object) -> bool:
            return type(value) in (int, float) and 0 <= value <= 1

        checks = dict(
            classes=0 < len(self.classes) <= _MOST_CLASSES
            and all(isinstance(name, str) for name in self.classes),
            size=len(self.size) == 2
            and all(whole(side, _MOST_PIXELS) for side in self.size)
            and self.size[0] * self.size[1] <= _MOST_PIXELS,
            color=self.color in COLORS,
            kind=self.kind in KINDS,
            score_thr=share(self.score_thr),
            iou_thr=share(self.iou_thr),
            max_per_img=whole(self.max_per_img, 1 << 20),
            batch=self.batch is None or whole(self.batch, 1 << 16),
            precision=self.precision in PRECISIONS,
            provenance=isinstance(self.provenance, Mapping),
        )
        for name, is_good in checks.items():
            if not is_good:
                raise ModelFileError(
                    f'the metadata has {name}={str(getattr(self, name))[:80]!r}, which cannot be: '
                    'export the model again with tools/export.py'
                )

    @property
    def outputs(self) -> list[str]:
        """list[str]: Names of the file's outputs, in their order."""
        return ['boxes', 'scores', 'labels'][: 3 if self.kind == 'detections' else 2]

    def to_json(self) -> str:
        """As text, for the metadata of a file.

        Returns:
            str: JSON.
        """
        return json.dumps(dict(format=FORMAT, **asdict(self)), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | None, source: str = 'the file') -> ModelSpec:
        """From the metadata of a file.

        Args:
            text (str, optional): JSON of :meth:`to_json`, None if there was none.
            source (str): The file, for errors. Defaults to ``'the file'``.

        Returns:
            ModelSpec: Checked.

        Raises:
            ModelFileError: If it is missing, of another version, or incomplete.
        """
        if text is None:
            raise ModelFileError(
                f'{source} has no metadata {KEY!r}: it was not written by tools/export.py, or '
                'another program has removed it'
            )
        try:
            if len(text) > _MOST_TEXT:
                raise ValueError('it is too long')
            values = json.loads(text)
            version = values.pop('format')
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            raise ModelFileError(f'the metadata of {source} cannot be read: {error}') from error
        if version != FORMAT:
            raise ModelFileError(
                f'{source} has metadata of format {str(version)[:20]!r}, but this version reads '
                f'{FORMAT}: export the model again, or take the version that wrote it'
            )
        try:
            for name in ('classes', 'size'):
                if not isinstance(values[name], list):
                    raise TypeError(f'{name} must be a list')
                values[name] = tuple(values[name])
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise ModelFileError(f'the metadata of {source} is incomplete: {error}') from error
        except ModelFileError as error:
            raise ModelFileError(f'{source}: {error}') from error
