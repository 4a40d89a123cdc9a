# SPDX-License-Identifier: Apache-2.0
"""A folder beside the place where something will be, to write it in before it is renamed."""

from __future__ import annotations

import glob
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmdet_mobilenext.processes import is_other_process

__all__ = ['work_folder']

STALE_SECONDS = 3600
"""After so long without a new file, a folder of another machine counts as left behind."""


@contextmanager
def work_folder(dest: Path) -> Iterator[Path]:
    """Name a folder beside ``dest``, on the same file system; removed in the end.

    What killed processes left behind beside ``dest`` is removed before.

    Args:
        dest (Path): Folder or file that is going to be made.

    Yields:
        Path: ``.{name of dest}.unfinished-{machine}-{process}``, which does not exist yet; its
            parent does.

    Example:
        >>> import tempfile
        >>> dest = Path(tempfile.mkdtemp()) / 'set'
        >>> with work_folder(dest) as work:
        ...     work.mkdir()
        ...     _ = work.rename(dest)
        >>> [path.name for path in dest.parent.iterdir()]
        ['set']
    """
    prefix = f'.{dest.name}.unfinished-'
    dest.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(dest.parent, prefix)
    work = dest.parent / f'{prefix}{socket.gethostname()}-{os.getpid()}'
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _remove_stale(folder: Path, prefix: str) -> None:
    """Remove the work folders of killed runs, and leave alone those of living ones."""
    for work in folder.glob(f'{glob.escape(prefix)}*'):
        host, _, pid = work.name[len(prefix) :].rpartition('-')
        if host == socket.gethostname() and pid.isdigit() and os.name == 'posix':
            stale = not is_other_process(int(pid))
        else:  # another machine's: nothing is known but when it was last written
            try:
                times = [p.stat().st_mtime for p in (work, *work.rglob('*')) if p.is_dir()]
            except FileNotFoundError:  # it is at work just now
                continue
            stale = bool(times) and time.time() - max(times) > STALE_SECONDS
        if stale:
            shutil.rmtree(work, ignore_errors=True)  # another process may be at it too
