# SPDX-License-Identifier: Apache-2.0
"""The programs that run exported files, one module each, loaded when one is asked for."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np

from ..errors import ModelFileError, RuntimeMissingError
from ..spec import ModelSpec

__all__ = ['BACKENDS', 'Backend', 'choose_backend', 'model_files', 'open_model']

BACKENDS = {
    'onnxruntime': ('.onnx',),
    'openvino': ('.xml', '.onnx'),
    'ncnn': ('.param',),
}
"""Backends, and the suffixes of the files that each runs."""
_COMPANIONS = {'.xml': ('.bin',), '.param': ('.bin', '.json')}


class Backend(Protocol):
    """What :class:`~mmdet_mobilenext.runtime.Detector` needs of a runtime.

    Attributes:
        spec (ModelSpec): Of the file.
    """

    spec: ModelSpec

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run it.

        Args:
            images (np.ndarray): (N, H, W, 3) uint8.

        Returns:
            tuple[np.ndarray, ...]: Boxes, scores and, with NMS inside, labels.
        """


def model_files(path: str | os.PathLike) -> list[Path]:
    """The files of an exported model.

    Args:
        path (str | PathLike): ``.onnx``, ``.xml`` of OpenVINO or ``.param`` of ncnn.

    Returns:
        list[Path]: It, and those that belong beside it.

    Example:
        >>> [file.name for file in model_files('model.param')]
        ['model.param', 'model.bin', 'model.json']
    """
    path = Path(path)
    beside = _COMPANIONS.get(path.suffix.lower(), ())
    return [path, *(path.with_suffix(suffix) for suffix in beside)]


def choose_backend(path: str | os.PathLike, backend: str | None) -> str:
    """Find the backend of an exported file.

    Args:
        path (str | PathLike): ``.onnx``, ``.xml`` of OpenVINO or ``.param`` of ncnn.
        backend (str, optional): Of :data:`BACKENDS`. Defaults to the first one that runs such a
            file.

    Returns:
        str: Of :data:`BACKENDS`.

    Raises:
        FileNotFoundError: If there is no such file.
        ModelFileError: If the backend does not run such files.
        ValueError: For an unknown backend.
    """
    path = Path(path)
    if backend is not None and backend not in BACKENDS:
        raise ValueError(f'backend must be one of {tuple(BACKENDS)}, but received {backend!r}')
    if path.is_dir():
        raise FileNotFoundError(f'{str(path)!r} is a folder: name the exported file in it')
    if not path.is_file():
        raise FileNotFoundError(f'no exported model {str(path)!r}: tools/export.py writes one')
    able = [name for name, suffixes in BACKENDS.items() if path.suffix.lower() in suffixes]
    if backend is None and able:
        backend = able[0]
    if backend not in able:
        known = {suffix for suffixes in BACKENDS.values() for suffix in suffixes}
        raise ModelFileError(
            f'{path} cannot be run'
            + (f' by {backend}, which takes {", ".join(BACKENDS[backend])}' if backend else '')
            + f': exported models end in {", ".join(sorted(known))}'
        )
    return backend


def open_model(path: str | os.PathLike, backend: str, threads: int) -> Backend:
    """Load an exported file.

    Args:
        path (str | PathLike): A file that the backend runs.
        backend (str): As :func:`choose_backend` found it.
        threads (int): CPU threads.

    Returns:
        Backend: Ready to run.

    Raises:
        ModelFileError: If the file is damaged, or no exported detector.
        RuntimeMissingError: If the backend's package is not installed.
    """
    path = Path(path)
    try:
        module = import_module(f'.{backend}_backend', __name__)
    except ModuleNotFoundError as error:
        raise RuntimeMissingError(
            f'{path} needs {backend}, and there is no {error.name}: `pip install {backend}`'
        ) from error
    return module.open_file(path, threads)
