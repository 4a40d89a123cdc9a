# SPDX-License-Identifier: Apache-2.0
"""The opt-in to checkpoints that run code."""

from __future__ import annotations

import logging
import os

from mmengine.logging import print_log

__all__ = [
    'ALLOW_UNSAFE_FLAG',
    'ALLOW_UNSAFE_VARIABLE',
    'allow_unsafe_checkpoints',
    'unsafe_checkpoints_allowed',
    'warn',
]

ALLOW_UNSAFE_VARIABLE = 'MMDET_MOBILENEXT_ALLOW_UNSAFE_CHECKPOINTS'
ALLOW_UNSAFE_FLAG = '--allow-unsafe-checkpoints'


class allow_unsafe_checkpoints:
    """Let checkpoints run the code they ask for, in this process and those it starts.

    Called alone it lasts until the process ends; in a ``with`` statement, until its end. The choice
    is kept in the environment variable ``MMDET_MOBILENEXT_ALLOW_UNSAFE_CHECKPOINTS``, which
    launched ranks and data workers inherit. Safe files are still read safely.

    Args:
        enabled (bool): ``False`` forbids again. Defaults to True.

    Example:
        >>> from mmdet_mobilenext.checkpoints.safe_loading import (
        ...     allow_unsafe_checkpoints, unsafe_checkpoints_allowed)
        >>> with allow_unsafe_checkpoints(False):
        ...     unsafe_checkpoints_allowed()
        False
    """

    def __init__(self, enabled: bool = True) -> None:
        self._before = os.environ.get(ALLOW_UNSAFE_VARIABLE)
        os.environ[ALLOW_UNSAFE_VARIABLE] = '1' if enabled else '0'
        if enabled:
            warn(
                'UNSAFE CHECKPOINTS ARE ALLOWED: a checkpoint that asks for it can run any code '
                'with your rights. Use this for files of people you trust only.'
            )

    def __enter__(self) -> allow_unsafe_checkpoints:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._before is None:
            os.environ.pop(ALLOW_UNSAFE_VARIABLE, None)
        else:
            os.environ[ALLOW_UNSAFE_VARIABLE] = self._before


def unsafe_checkpoints_allowed() -> bool:
    """Whether the user opted in to unsafe checkpoints.

    Returns:
        bool: State of ``MMDET_MOBILENEXT_ALLOW_UNSAFE_CHECKPOINTS``; unset means False.

    Raises:
        ValueError: If the variable is neither a yes nor a no.

    Example:
        >>> import os
        >>> from mmdet_mobilenext.checkpoints import safe_loading
        >>> _ = os.environ.pop(safe_loading.ALLOW_UNSAFE_VARIABLE, None)
        >>> safe_loading.unsafe_checkpoints_allowed()
        False
    """
    value = os.environ.get(ALLOW_UNSAFE_VARIABLE, '').strip().lower()
    if value in ('1', 'true', 'yes', 'on'):
        return True
    if value in ('', '0', 'false', 'no', 'off'):
        return False
    raise ValueError(f'{ALLOW_UNSAFE_VARIABLE} is {value!r}; set it to 1 or 0')


def warn(message: str) -> None:
    """Log a warning that stands out."""
    print_log(f'*** {message} ***', logger='current', level=logging.WARNING)
