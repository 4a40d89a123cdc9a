# SPDX-License-Identifier: Apache-2.0
"""A detector from an exported file, or from a config and a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np

from mmdet_mobilenext.runtime.detections import Detections

__all__ = ['load_detector']


def load_detector(
    model: str | os.PathLike,
    config: str | os.PathLike | None = None,
    *,
    threads: int | None = None,
    device: str = 'cpu',
) -> Callable[[np.ndarray | Sequence[np.ndarray]], Detections | list[Detections]]:
    """Make a detector ready.

    Args:
        model (str | os.PathLike): Exported file; with a config, a checkpoint.
        config (str | os.PathLike | None): Config of the checkpoint. Default: None.
        threads (int | None): CPU threads; None leaves it to the runtime. Default: None.
        device (str): Of a checkpoint, such as ``cuda:0``. Default: 'cpu'.

    Returns:
        Callable: Takes a BGR picture or a list of them, gives Detections or a list of them, and has
        ``classes``.

    Raises:
        ModelFileError: If the file is no exported model.
        RuntimeMissingError: If what runs it is not installed.
    """
    if config is not None:
        from .checkpoint_detector import CheckpointDetector

        return CheckpointDetector(config, model, threads=threads, device=device)
    from mmdet_mobilenext.runtime import Detector

    return Detector(model, threads=threads)
