# SPDX-License-Identifier: Apache-2.0
"""Detections and ground truth of a test set as flat arrays, in one file.

Everything the comparison says about accuracy is computed from these arrays, as often as wanted,
without running a network again.
"""

from __future__ import annotations

import hashlib
import io
import os
import zlib
from dataclasses import dataclass, fields
from zipfile import BadZipFile

import numpy as np

from mmdet_mobilenext.engine.atomic_checkpoint_hook import AtomicLocalBackend

__all__ = ['DetectionRecords', 'RecordsFileError']

FORMAT = 1
"""Version of the file format; a reader refuses any other."""


class RecordsFileError(ValueError):
    """A file of records is damaged or of another format."""


@dataclass(frozen=True)
class DetectionRecords:
    """Detections and ground truth of N images, D detections and G objects.

    Images are in a fixed order that does not depend on the number of processes. Boxes are (x1, y1,
    x2, y2) in pixels of the original image. Arrays of detections and of objects are sorted by
    image; detections of an image keep the order of the detector.

    Attributes:
        classes (tuple[str, ...]): Class names; labels are indices into it.
        image_ids (np.ndarray): (N,) str, unique.
        image_paths (np.ndarray): (N,) str, image files, empty where unknown.
        image_sizes (np.ndarray): (N, 2) int32, height and width.
        det_boxes (np.ndarray): (D, 4) float32.
        det_scores (np.ndarray): (D,) float32 in 0..1.
        det_labels (np.ndarray): (D,) int32.
        det_images (np.ndarray): (D,) int32, index of the image, ascending.
        gt_boxes (np.ndarray): (G, 4) float32.
        gt_labels (np.ndarray): (G,) int32.
        gt_images (np.ndarray): (G,) int32, index of the image, ascending.
        gt_ignored (np.ndarray): (G,) bool, difficult (VOC) or crowd (COCO).

    Example:
        >>> records = DetectionRecords.from_lists(
        ...     ('cat',),
        ...     ['a'],
        ...     det=[([[0, 0, 9, 9]], [0.5], [0])],
        ...     gt=[([[0, 0, 9, 9]], [0], [False])],
        ... )
        >>> records.num_images, len(records.det_scores), records.gt_images.tolist()
        (1, 1, [0])
    """

    classes: tuple[str, ...]
    image_ids: np.ndarray
    image_paths: np.ndarray
    image_sizes: np.ndarray
    det_boxes: np.ndarray
    det_scores: np.ndarray
    det_labels: np.ndarray
    det_images: np.ndarray
    gt_boxes: np.ndarray
    gt_labels: np.ndarray
    gt_images: np.ndarray
    gt_ignored: np.ndarray

    @property
    def num_images(self) -> int:
        """Number of images."""
        return len(self.image_ids)

    @classmethod
    def from_lists(
        cls,
        classes: tuple[str, ...] | list[str],
        image_ids: list[str],
        det: list[tuple],
        gt: list[tuple],
        image_paths: list[str] | None = None,
        image_sizes: list[tuple[int, int]] | None = None,
    ) -> DetectionRecords:
        """Put lists of images together.

        Args:
            classes (Sequence[str]): Class names.
            image_ids (list[str]): One name for each image.
            det (list[tuple]): For each image boxes (n, 4), scores (n,) and labels (n,).
            gt (list[tuple]): For each image boxes (m, 4), labels (m,) and ignore flags (m,).
            image_paths (list[str], optional): Image files. Defaults to None, unknown.
            image_sizes (list[tuple[int, int]], optional): Heights and widths.
                Defaults to None, zeros.

        Returns:
            DetectionRecords: The arrays.

        Raises:
            ValueError: If an image appears twice or lists differ in length.
        """
        count = len(image_ids)
        if len(det) != count or len(gt) != count:
            raise ValueError(f'{count} images, but {len(det)} detections and {len(gt)} objects')
        if len(set(image_ids)) != count:
            twice = sorted({i for i in image_ids if image_ids.count(i) > 1})[:3]
            raise ValueError(f'each image is evaluated once, but {twice} appear more often')

        def flat(items: list[tuple], position: int, dtype: type, width: int = 0) -> np.ndarray:
            shape = (-1, width) if width else (-1,)
            parts = [item[position] for item in items]
            # Looking at thousands of arrays is much quicker than converting each.
            if not all(type(part) is np.ndarray and part.ndim == len(shape) for part in parts):
                parts = [np.asarray(part, dtype).reshape(shape) for part in parts]
            empty = np.zeros((0, width) if width else 0, dtype)
            return np.concatenate([empty, *parts], dtype=dtype, casting='unsafe')

        def owners(items: list[tuple]) -> np.ndarray:
            return np.repeat(np.arange(count, dtype=np.int32), [len(item[0]) for item in items])

        return cls(
            classes=tuple(classes),
            image_ids=np.asarray(image_ids, dtype=str),
            image_paths=np.asarray(image_paths or [''] * count, dtype=str),
            image_sizes=np.asarray(image_sizes or [(0, 0)] * count, np.int32).reshape(-1, 2),
            det_boxes=flat(det, 0, np.float32, 4),
            det_scores=flat(det, 1, np.float32),
            det_labels=flat(det, 2, np.int32),
            det_images=owners(det),
            gt_boxes=flat(gt, 0, np.float32, 4),
            gt_labels=flat(gt, 1, np.int32),
            gt_images=owners(gt),
            gt_ignored=flat(gt, 2, bool),
        )

    def ground_truth_digest(self) -> str:
        """Fingerprint of images, classes and objects, the same for all detectors of a comparison.

        Returns:
            str: 16 hexadecimal digits.
        """
        digest = hashlib.sha256(repr(self.classes).encode())
        digest.update('\n'.join(self.image_ids.tolist()).encode())
        for name in ('gt_boxes', 'gt_labels', 'gt_images', 'gt_ignored'):
            digest.update(np.ascontiguousarray(getattr(self, name)).tobytes())
        return digest.hexdigest()[:16]

    def save(self, path: str | os.PathLike) -> None:
        """Write the arrays to an ``.npz`` file, whole or not at all.

        Args:
            path (str | PathLike): File to write.
        """
        arrays = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}
        arrays['classes'] = np.asarray(self.classes, dtype=str)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, format=np.asarray(FORMAT), **arrays)
        AtomicLocalBackend().put(buffer.getvalue(), path)

    @classmethod
    def load(cls, path: str | os.PathLike) -> DetectionRecords:
        """Read a file of :meth:`save`. Nothing in it can run code.

        Args:
            path (str | PathLike): File to read.

        Returns:
            DetectionRecords: The arrays.

        Raises:
            FileNotFoundError: If there is no such file.
            RecordsFileError: If it is damaged or of another format.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                if int(file['format']) != FORMAT:
                    raise RecordsFileError(f'{path} has format {file["format"]}, not {FORMAT}')
                arrays = {f.name: file[f.name] for f in fields(cls)}
        except FileNotFoundError:
            raise
        except (BadZipFile, KeyError, OSError, ValueError, EOFError, zlib.error) as error:
            if isinstance(error, RecordsFileError):
                raise
            raise RecordsFileError(f'{path} is no file of detections: {error}') from error
        arrays['classes'] = tuple(arrays['classes'].tolist())
        return cls(**arrays)
