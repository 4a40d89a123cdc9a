# SPDX-License-Identifier: Apache-2.0
"""Let a process end with the one that started it, however that happens.

Without it a run would go on alone after the comparison was killed, and the next call would find its
folder locked or its measurements disturbed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

__all__ = ['PARENT', 'die_with_parent']

PARENT = 'MMDET_MOBILENEXT_PARENT'
"""Environment variable with the process number of the one that started this one."""


def die_with_parent() -> None:
    """Ask Linux to end this process when its parent ends.

    A parent that ended while this process was still loading is noticed by :data:`PARENT`. Without
    that variable, and on other systems, nothing is done.
    """
    parent = os.environ.get(PARENT)
    if sys.platform != 'linux' or parent is None:
        return
    set_parent_death_signal = 1
    ctypes.CDLL(None, use_errno=True).prctl(set_parent_death_signal, signal.SIGTERM)
    if os.getppid() != int(parent):
        os.kill(os.getpid(), signal.SIGTERM)
