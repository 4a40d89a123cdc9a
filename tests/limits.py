# SPDX-License-Identifier: Apache-2.0
"""Limits of the operating system: real errors of writing and opening, without filling a disk."""

import contextlib
import os
import resource


@contextlib.contextmanager
def _limit(kind, value):
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))


def largest_file(size):
    """Writing beyond that fails (EFBIG), in the middle of a file as on a full disk (ENOSPC)."""
    return _limit(resource.RLIMIT_FSIZE, size)


def no_more_open_files():
    """Opening a file fails (EMFILE)."""
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    return _limit(resource.RLIMIT_NOFILE, free)
