# SPDX-License-Identifier: Apache-2.0
"""A detector from an exported file, or from a config and a checkpoint."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from mmdet_mobilenext.runtime import Detector
from mmdet_mobilenext.runtime.errors import ModelFileError, RuntimeMissingError

from .errors import DemoError

if TYPE_CHECKING:
    from .checkpoint_detector import CheckpointDetector

__all__ = ['load_detector']


def load_detector(
    model: str | os.PathLike,
    config: str | os.PathLike | None = None,
    *,
    threads: int | None = None,
    backend: str | None = None,
    device: str = 'cpu',
) -> Detector | CheckpointDetector:
    """Make a detector ready. torch is imported for a checkpoint alone.

    Args:
        model (str | os.PathLike): Exported file; with a config, a checkpoint.
        config (str | os.PathLike | None): Config of the checkpoint. Default: None.
        threads (int | None): CPU threads. Default: None, for all cores.
        backend (str | None): Of an exported file, see
            :class:`~mmdet_mobilenext.runtime.Detector`. Default: None.
        device (str): Of a checkpoint, such as ``cuda:0``. Default: 'cpu'.

    Returns:
        Detector | CheckpointDetector: Takes a BGR picture or a list of them, gives Detections or a
        list of them, and has ``classes``.

    Raises:
        DemoError: For options that cannot be.
        FileNotFoundError: If there is no such file.
        ModelFileError: If the file is no exported model.
        RuntimeMissingError: If what runs it is not installed.

    Example:
        >>> load_detector('ssdlite.pth')
        Traceback (most recent call last):
        ...
        mmdet_mobilenext.demo.errors.DemoError: ssdlite.pth looks like a checkpoint: give its \
config with --config, or export it (tools/export.py)
    """
    if threads is not None and threads < 1:
        raise DemoError(f'threads must be at least 1, but received {threads}')
    if config is None:
        if os.fspath(model).endswith(('.pth', '.pt')):
            raise DemoError(
                f'{os.fspath(model)} looks like a checkpoint: give its config with --config, or '
                'export it (tools/export.py)'
            )
        try:
            return Detector(model, backend, threads)
        except ModelFileError:
            raise
        except ValueError as error:
            raise DemoError(str(error)) from error
    missing = [name for name in ('torch', 'mmengine', 'mmcv', 'mmdet') if find_spec(name) is None]
    if missing:
        raise RuntimeMissingError(
            f'a checkpoint needs {", ".join(missing)}: `python3 tools/setup_env.py` installs '
            'that; exported files run without'
        )
    _check_device(device)
    from .checkpoint_detector import CheckpointDetector

    return CheckpointDetector(config, model, threads=threads, device=device)


def _check_device(device: str) -> None:
    """Check that PyTorch can put something there, before anything is loaded."""
    import torch

    try:
        torch.zeros(1, device=device).cpu()
    # AssertionError: PyTorch without CUDA; NotImplementedError: a device without data, as `meta`
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().partition('\n')[0]
        raise DemoError(f'device {device!r} cannot be used here: {reason}') from error
