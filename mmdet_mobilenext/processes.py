# SPDX-License-Identifier: Apache-2.0
"""Processes of this machine: their cores, and whose leftovers a file is."""

import os

__all__ = ['available_cores', 'is_other_process']


def available_cores() -> int:
    """Cores that this process may use.

    Returns:
        int: At least 1.

    Example:
        >>> available_cores() >= 1
        True
    """
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_other_process(pid: int) -> bool:
    """Whether another process of that number runs on this machine.

    Args:
        pid (int): Number of a process.

    Returns:
        bool: False for this process as well, which writes nothing while it cleans up.

    Example:
        >>> is_other_process(os.getpid())
        False
    """
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # of another user, or no number of a process
        pass
    return True
