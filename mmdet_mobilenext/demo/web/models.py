# SPDX-License-Identifier: Apache-2.0
"""The models of the page, under the names that it shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmdet_mobilenext.runtime import Detections, Detector
from mmdet_mobilenext.runtime.backends import BACKENDS

__all__ = ['WebModel', 'load_models']

_TITLES = dict(onnxruntime='ONNX Runtime', openvino='OpenVINO')


@dataclass(frozen=True)
class WebModel:
    """A detector and what the page says of it.

    Args:
        name (str): Its name, of no other model.
        detector (Callable): Takes a BGR array (H, W, 3) and returns ``Detections``.
        about (str): Backend, precision, size and classes in one line.
    """

    name: str
    detector: Callable[[np.ndarray], Detections]
    about: str


def load_models(
    paths: Sequence[str], backend: str | None = None, threads: int | None = None
) -> list[WebModel]:
    """Load exported files and run each once, so that no visitor pays for the first run.

    Args:
        paths (Sequence[str]): Files that ``tools/export.py`` wrote.
        backend (str, optional): See :class:`~mmdet_mobilenext.runtime.Detector`.
        threads (int, optional): CPU threads of a run. Defaults to the cores this process may use.

    Returns:
        list[WebModel]: In that order, named by their files.

    Raises:
        FileNotFoundError: If there is no such file.
        ModelFileError: If a file is damaged, or no exported detector.
        RuntimeMissingError: If the backend's package is not installed.
        ValueError: If there is none, or the same file twice.

    Example:
        >>> load_models(['nothing.onnx'])
        Traceback (most recent call last):
        ...
        FileNotFoundError: no exported model 'nothing.onnx': tools/export.py writes one
    """
    if not paths:
        raise ValueError('no model is given: name one or more files of tools/export.py')
    models = []
    for path, name in zip(paths, _names(paths), strict=True):
        detector = Detector(path, backend, threads)
        detector(np.zeros((8, 8, 3), np.uint8))
        models.append(WebModel(name, detector, _about(detector, backend)))
    return models


def _names(paths: Sequence[str]) -> list[str]:
    """File names, with as many folders before them as tell them apart."""
    parts = [Path(path).resolve().parts for path in paths]
    for given, path in zip(parts, paths, strict=True):
        if parts.count(given) > 1:
            raise ValueError(f'{path} is given {parts.count(given)} times: name each model once')
    depth = 1
    while len({given[-depth:] for given in parts}) < len(parts):
        depth += 1
    return ['/'.join(given[-depth:]) for given in parts]


def _about(detector: Detector, backend: str | None) -> str:
    path, spec = Path(detector.path), detector.spec
    suffix = path.suffix.lower()
    backend = backend or next(name for name, able in BACKENDS.items() if suffix in able)
    files = {path, path.with_suffix('.bin')} if suffix != '.onnx' else {path}
    size = sum(file.stat().st_size for file in files if file.exists())
    classes = f'{len(spec.classes)} class' + 'es' * (len(spec.classes) != 1)
    return (
        f'{_TITLES.get(backend, backend)}, {spec.precision}, input {spec.size[0]}x{spec.size[1]}, '
        f'{classes}, {size / 1e6:.1f} MB, threads: {detector.threads}'
    )
