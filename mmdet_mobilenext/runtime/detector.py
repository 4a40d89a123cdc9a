# SPDX-License-Identifier: Apache-2.0
"""Detection with exported models: numpy, OpenCV and one runtime, no PyTorch."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

import cv2
import numpy as np

from mmdet_mobilenext.processes import available_cores

from .backends import Backend, choose_backend, open_model
from .detections import Detections
from .errors import ImageError, ModelFileError
from .images import MAX_PIXELS, check_array, read_image
from .nms import best_boxes
from .spec import ModelSpec

__all__ = ['Detector']

# Each takes some 4 MB; thousands of them would fill the memory of the machine.
_MOST_THREADS = max(256, os.cpu_count() or 1)

ImageLike = np.ndarray | bytes | str | os.PathLike


class Detector:
    """A detector from a file that ``tools/export.py`` wrote.

    It may be called by several threads; they take turns.

    Args:
        path (str | PathLike): ``.onnx``, ``.xml`` of OpenVINO or ``.param`` of ncnn.
        backend (str | Backend, optional): ``'onnxruntime'``, ``'openvino'`` or ``'ncnn'``, or a
            model that is loaded already. Defaults to the one that the file's suffix stands for.
        threads (int, optional): CPU threads of a run. Defaults to the cores this process may use.
        score_thr (float, optional): Detections have a larger score. Defaults to that of the
            file, which is what the metric wants (0.01 or so) and far below what people want to see
            (0.3 or more).
        max_pixels (int): Larger image files are refused. Defaults to 50 million.

    Raises:
        FileNotFoundError: If there is no such file.
        ModelFileError: If the file is damaged, or no exported detector.
        RuntimeMissingError: If the backend's package is not installed.
        ValueError: For an unknown backend, or threads or a threshold that cannot be.

    Example:
        >>> Detector('nothing.onnx')
        Traceback (most recent call last):
        ...
        FileNotFoundError: no exported model 'nothing.onnx': tools/export.py writes one
    """

    def __init__(
        self,
        path: str | os.PathLike,
        backend: str | Backend | None = None,
        threads: int | None = None,
        score_thr: float | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        if threads is None:
            threads = available_cores()
        if threads < 1:
            raise ValueError(f'threads must be at least 1, but received {threads}')
        if threads > _MOST_THREADS:
            raise ValueError(f'threads must be at most {_MOST_THREADS}, but received {threads}')
        self.path, self.threads, self.max_pixels = os.fspath(path), threads, max_pixels
        if backend is None or isinstance(backend, str):
            self.backend = choose_backend(path, backend)
            backend = open_model(path, self.backend, threads)
        else:
            self.backend = type(backend).__name__
        self._backend = backend
        self.score_thr = self.spec.score_thr if score_thr is None else score_thr
        if not self.spec.score_thr <= self.score_thr <= 1:
            raise ValueError(
                f'score_thr must be from {self.spec.score_thr} (what the file was exported with) '
                f'to 1, but received {score_thr}'
            )
        self._lock = threading.Lock()

    @property
    def spec(self) -> ModelSpec:
        """ModelSpec: What the file says of itself."""
        return self._backend.spec

    @property
    def classes(self) -> tuple[str, ...]:
        """tuple[str, ...]: Class names, in the order of the labels."""
        return self.spec.classes

    @property
    def size(self) -> tuple[int, int]:
        """tuple[int, int]: Width and height in pixels that images are stretched to."""
        return self.spec.size

    def __call__(self, images: ImageLike | Sequence[ImageLike]) -> Detections | list[Detections]:
        """Detect.

        Args:
            images (np.ndarray | bytes | str | PathLike | list | tuple): An image, or several: a
                uint8 array (H, W, 3) in BGR order, the content of an image file, or its path.

        Returns:
            Detections | list[Detections]: Of the image, or of each; boxes in its pixels.

        Raises:
            ImageError: For an image that cannot be read; it names which of several.
            FileNotFoundError: If there is no such file.
        """
        if not isinstance(images, (list, tuple)):
            return self._detect([self._read(images)])[0]
        arrays = []
        for number, image in enumerate(images):
            try:
                arrays.append(self._read(image))
            except ImageError as error:
                raise ImageError(f'image {number} of {len(images)}: {error}') from error
        return self._detect(arrays)

    def _read(self, image: ImageLike) -> np.ndarray:
        if isinstance(image, np.ndarray):
            return check_array(image)
        if isinstance(image, (bytes, bytearray, str, os.PathLike)):
            return read_image(image, self.max_pixels)
        raise ImageError(
            'an image must be an array, bytes or a path, but received a '
            f'{type(image).__module__}.{type(image).__qualname__}'
            + (' (cv2.imread returns None for what it cannot read)' if image is None else '')
        )

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """Stretch an image to the network's size, in its channel order.

        Args:
            image (np.ndarray): (H, W, 3) uint8, BGR.

        Returns:
            np.ndarray: (size[1], size[0], 3) uint8.
        """
        # MMDetection's Resize is this as well
        image = cv2.resize(image, self.size, interpolation=cv2.INTER_LINEAR)
        return image if self.spec.color == 'bgr' else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def run(self, batch: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Detect in images that are prepared already.

        Args:
            batch (np.ndarray): (N, size[1], size[0], 3) uint8, in the order of ``spec.color``.

        Returns:
            list[tuple]: Boxes (n, 4) xyxy in pixels of the network's input, scores (n,) and labels
            (n,) of each, best first.

        Raises:
            ImageError: If the batch has another shape or dtype.
            ModelFileError: If the file does not run, or gives something else than it says.
        """
        shape = (self.size[1], self.size[0], 3)
        if batch.ndim != 4 or batch.shape[1:] != shape or batch.dtype != np.uint8:
            raise ImageError(
                f'a batch must be uint8 (N, {", ".join(map(str, shape))}), but received '
                f'{batch.dtype} {batch.shape}'
            )
        step = self.spec.batch or max(len(batch), 1)
        found = []
        for start in range(0, len(batch), step):
            part = batch[start : start + step]
            used = len(part)
            if self.spec.batch and used < step:  # the file takes this many, no less
                part = np.concatenate([part, np.repeat(part[-1:], step - used, 0)])
            with self._lock:
                outputs = self._outputs(np.ascontiguousarray(part))
                found += [self._select(*(o[i] for o in outputs)) for i in range(used)]
        return found

    def _outputs(self, part: np.ndarray) -> tuple[np.ndarray, ...]:
        try:
            outputs = self._backend(part)
        except Exception as error:  # ONNX Runtime's have nothing in common
            raise ModelFileError(f'{self.path} cannot be run: {error}') from error
        counts = {output.shape[1:2] for output in outputs}
        shapes = [output.shape for output in outputs]
        depths = [3, 2, 2] if self.spec.kind == 'detections' else [3, 3]
        if (
            len(counts) != 1
            or [len(shape) for shape in shapes] != depths
            or any(shape[0] != len(part) for shape in shapes)
            or shapes[0][2] != 4
        ):
            raise ModelFileError(
                f'{self.path} gives outputs of shapes {shapes} for {len(part)} images, but boxes '
                'must be (N, n, 4), and scores and labels must fit them: export the model again'
            )
        return outputs

    def _select(
        self, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Detections of one image from the outputs of the network."""
        num_classes = len(self.classes)
        if labels is None:
            if scores.shape[-1] != num_classes:
                raise ModelFileError(
                    f'{self.path} has scores of {scores.shape[-1]} classes, but names of '
                    f'{num_classes}'
                )
            return best_boxes(
                boxes, scores, self.score_thr, self.spec.iou_thr, self.spec.max_per_img
            )
        keep = scores > self.score_thr
        # a copy: runtimes give views of memory that the next run fills
        boxes, scores, labels = boxes[keep], scores[keep], labels[keep].astype(np.int64)
        if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
            raise ModelFileError(f'{self.path} finds classes that it has no names for')
        return boxes, scores, labels

    def _detect(self, images: list[np.ndarray]) -> list[Detections]:
        if not images:
            return []
        found = self.run(np.stack([self.prepare(image) for image in images]))
        return [self.restore(*pair) for pair in zip(found, images, strict=True)]

    def restore(self, found: tuple[np.ndarray, ...], image: np.ndarray) -> Detections:
        """Bring what :meth:`run` found back to the pixels of the image.

        Args:
            found (tuple[np.ndarray]): Boxes, scores and labels of one image.
            image (np.ndarray): (H, W, 3), as :meth:`prepare` received it.

        Returns:
            Detections: Of the image.
        """
        boxes, scores, labels = found
        height, width = image.shape[:2]
        scale = np.array([width / self.size[0], height / self.size[1]] * 2, np.float32)
        return Detections(boxes * scale, scores, labels, self.classes, (width, height))
