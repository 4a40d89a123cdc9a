# SPDX-License-Identifier: Apache-2.0
"""One OpenVINO core for the whole process."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import openvino

__all__ = ['only_one_core', 'shared_core']


@functools.cache
def shared_core() -> openvino.Core:
    """The core that everything here compiles models with. It is never destroyed.

    On processors with AMX each core's CPU plugin gives the thread a stack for signals and, when it
    is destroyed, puts back the one that it found. Of two cores that end in another order than they
    began the one puts back the freed stack of the other, and the next signal that Python handles,
    such as the end of a worker of a data loader, kills the process (seen with OpenVINO 2026.4.1).

    Returns:
        openvino.Core: Always the same.

    Example:
        >>> shared_core() is shared_core()
        True
    """
    return openvino.Core()


@contextmanager
def only_one_core() -> Iterator[None]:
    """Let other packages that make a core of their own have the shared one.

    Example:
        >>> with only_one_core():
        ...     openvino.Core() is shared_core()
        True
    """
    core = shared_core()
    # openvino.compile_model makes one by the name in its own module
    inside = sys.modules[type(core).__module__]
    with (
        mock.patch.object(openvino, 'Core', lambda: core),
        mock.patch.object(inside, 'Core', lambda: core),
    ):
        yield
