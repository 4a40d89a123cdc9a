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

__all__ = [
    'BACKENDS',
    'COMPANIONS',
    'Backend',
    'backends_of',
    'choose_backend',
    'model_files',
    'open_model',
    'split_backend',
]

BACKENDS = {
    'onnxruntime': ('.onnx',),
    'openvino': ('.xml', '.onnx'),
    'ncnn': ('.param',),
}
"""Backends, and the suffixes of the files that each runs."""
COMPANIONS = {'.onnx': (), '.xml': ('.bin',), '.param': ('.bin', '.json')}
"""Suffixes of such files, and of those that belong to each and lie beside it."""


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


def backends_of(path: str | os.PathLike) -> list[str]:
    """Backends that run files of a suffix.

    Args:
        path (str | PathLike): File.

    Returns:
        list[str]: Of :data:`BACKENDS`, the default first; none if it is no exported file.

    Example:
        >>> backends_of('model.onnx'), backends_of('epoch_12.pth')
        (['onnxruntime', 'openvino'], [])
    """
    suffix = Path(path).suffix.lower()
    return [name for name, suffixes in BACKENDS.items() if suffix in suffixes]


def model_files(path: str | os.PathLike) -> list[Path]:
    """All files of an exported model.

    Args:
        path (str | PathLike): The one that is named.

    Returns:
        list[Path]: That one, and those that belong to it.

    Example:
        >>> [file.name for file in model_files('model.param')]
        ['model.param', 'model.bin', 'model.json']
    """
    path = Path(path)
    return [path, *(path.with_suffix(suffix) for suffix in COMPANIONS.get(path.suffix.lower(), ()))]


def split_backend(text: str) -> tuple[str, str | None]:
    """A file of the command line, and its backend.

    Args:
        text (str): ``FILE`` or ``FILE=BACKEND``.

    Returns:
        tuple[str, str | None]: None is the backend that the suffix stands for.

    Example:
        >>> split_backend('a.onnx=openvino'), split_backend('a=b.xml')
        (('a.onnx', 'openvino'), ('a=b.xml', None))
    """
    path, _, backend = text.rpartition('=')
    return (path, backend) if path and backend in BACKENDS else (text, None)


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
    able = backends_of(path)
    if backend is None and able:
        backend = able[0]
    if backend not in able:
        raise ModelFileError(
            f'{path} cannot be run'
            + (f' by {backend}, which takes {", ".join(BACKENDS[backend])}' if backend else '')
            + f': exported models end in {", ".join(COMPANIONS)}'
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
