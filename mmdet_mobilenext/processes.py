# SPDX-License-Identifier: Apache-2.0
"""Whose leftovers a file is: of a living process or of a killed one."""

import os

__all__ = ['is_other_process']


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
