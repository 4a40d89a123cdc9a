# SPDX-License-Identifier: Apache-2.0
"""The models of the page, under the names that it shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmdet_mobilenext.runtime import Detections, Detector
from mmdet_mobilenext.runtime.backends import model_files
from mmdet_mobilenext.runtime.drawing import DetectionDrawer

from ..errors import DemoError
from ..load import load_detector

if TYPE_CHECKING:
    from ..checkpoint_detector import CheckpointDetector

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
    paths: Sequence[str],
    checkpoints: Sequence[tuple[str, str]] = (),
    backend: str | None = None,
    threads: int | None = None,
) -> list[WebModel]:
    """Load models and run each once, so that no visitor pays for the first run.

    Args:
        paths (Sequence[str]): Files that ``tools/export.py`` wrote.
        checkpoints (Sequence[tuple[str, str]]): Config and checkpoint of each that is run by
            PyTorch. Defaults to none.
        backend (str, optional): Of the files, see :class:`~mmdet_mobilenext.runtime.Detector`.
        threads (int, optional): CPU threads of a run. Defaults to the cores this process may use.

    Returns:
        list[WebModel]: In that order, named by their files.

    Raises:
        DemoError: If there is none, the same file twice, or an option that cannot be.
        FileNotFoundError: If there is no such file.
        ModelFileError: If a file is damaged, or no exported detector.
        RuntimeMissingError: If what runs or draws it is not installed.

    Example:
        >>> load_models(['nothing.onnx'])
        Traceback (most recent call last):
        ...
        FileNotFoundError: no exported model 'nothing.onnx': tools/export.py writes one
    """
    wanted = [(path, None) for path in paths] + [(path, config) for config, path in checkpoints]
    if not wanted:
        raise DemoError('no model is given: name one or more files of tools/export.py')
    models = []
    names = _names([path for path, _ in wanted])
    for name, (path, config) in zip(names, wanted, strict=True):
        detector = load_detector(path, config, threads=threads, backend=backend)
        found = detector(np.zeros((64, 64, 3), np.uint8))
        DetectionDrawer(found.classes)  # what it needs is to be missed now
        about = _about_file(detector) if config is None else _about_checkpoint(detector)
        files = model_files(path) if config is None else [Path(path)]
        size = sum(file.stat().st_size for file in files) / 1e6
        models.append(WebModel(name, detector, f'{about}, {size:.1f} MB'))
    return models


def _names(paths: Sequence[str]) -> list[str]:
    """File names, with as many folders before them as tell them apart."""
    parts = [Path(path).resolve().parts for path in paths]
    for given, path in zip(parts, paths, strict=True):
        if parts.count(given) > 1:
            raise DemoError(f'{path} is given {parts.count(given)} times: name each model once')
    depth = 1
    while len({given[-depth:] for given in parts}) < len(parts):
        depth += 1
    return ['/'.join(given[-depth:]) for given in parts]


def _about_file(detector: Detector) -> str:
    spec, title = detector.spec, _TITLES.get(detector.backend, detector.backend)
    return (
        f'{title}, {spec.precision}, input {spec.size[0]}x{spec.size[1]}, '
        f'{_classes(detector)}, threads: {detector.threads}'
    )


def _about_checkpoint(detector: CheckpointDetector) -> str:
    import torch

    return f'PyTorch, float32, {_classes(detector)}, threads: {torch.get_num_threads()}'


def _classes(detector: Detector | CheckpointDetector) -> str:
    number = len(detector.classes)
    return f'{number} class{"" if number == 1 else "es"}'
