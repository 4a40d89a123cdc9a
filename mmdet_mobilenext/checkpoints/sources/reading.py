# SPDX-License-Identifier: Apache-2.0
"""Read a foreign file, whatever its format, without running code from it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mmdet_mobilenext.checkpoints.safe_loading import CheckpointFileError, load_safely

from . import AUTO, SOURCES, paddleclas_mobilenext

__all__ = ['read_checkpoint']


def read_checkpoint(path: str | os.PathLike, source: str = AUTO) -> Any:
    """Read a file of PyTorch, of PaddlePaddle (``.pdparams``) or, with its library, safetensors.

    Args:
        path (str | PathLike): The file.
        source (str): A key of ``SOURCES``, or ``'auto'``. Defaults to ``'auto'``.

    Returns:
        object: What the file holds, usually a dict.

    Raises:
        FileNotFoundError: If there is no such file.
        UnsafeCheckpointError: If the file wants to run code.
        CheckpointFileError: If it is truncated or damaged.
        ValueError: If its format is another one than the source's.
        RuntimeError: If it needs a library that is not installed.
    """
    path = Path(path)
    if path.suffix == '.safetensors':
        return _load_safetensors(path)
    if source == 'paddleclas-mobilenext' or (source == AUTO and path.suffix == '.pdparams'):
        return paddleclas_mobilenext.load(path)
    if path.suffix == '.pdparams':
        paddle = [name for name, module in SOURCES.items() if hasattr(module, 'load')]
        raise ValueError(
            f'{path} is a file of PaddlePaddle, but {source!r} is none of its sources: '
            f'pass --source {" or ".join(paddle)}'
        )
    return load_safely(str(path))


def _load_safetensors(path: Path) -> dict[str, Any]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise RuntimeError(
            f'{path} needs the library safetensors, which is not installed: run `pip install '
            'safetensors`, or take the .pth file of the same weights'
        ) from None
    try:
        return load_file(path)
    except SafetensorError as error:
        raise CheckpointFileError(
            f'Checkpoint {path} is truncated, damaged or no safetensors file ({error}). Copy or '
            'download it again'
        ) from error
