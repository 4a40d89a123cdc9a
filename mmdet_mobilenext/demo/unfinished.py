# SPDX-License-Identifier: Apache-2.0
"""Files that are written beside their place and renamed when they are complete."""

from __future__ import annotations

import os
import re
import socket
import uuid
from pathlib import Path

from mmdet_mobilenext.processes import is_other_process

__all__ = ['UnfinishedFile', 'remove_leftovers']

# Without the file's own name, which may be as long as a name can be.
_NAME = re.compile(r'\.(?P<host>.+)-(?P<pid>\d+)-[0-9a-f]{32}\.tmp')


class UnfinishedFile:
    """A name to write to, which takes the place of ``path`` in one step.

    Args:
        path (str | os.PathLike): The file to be. Missing folders are made.

    Attributes:
        path (Path): The file to be.
        name (Path): What to write, in the same folder.

    Example:
        >>> import tempfile
        >>> file = UnfinishedFile(Path(tempfile.mkdtemp()) / 'a.txt')
        >>> _ = file.name.write_text('complete')
        >>> file.path.exists()
        False
        >>> file.finish()
        >>> file.path.read_text()
        'complete'
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        name = f'.{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex}.tmp'
        self.name = self.path.parent / name

    @classmethod
    def write(cls, path: str | os.PathLike, content: bytes) -> None:
        """Write a file, whole or not at all.

        Args:
            path (str | os.PathLike): The file to be.
            content (bytes): All of it.
        """
        unfinished = cls(path)
        try:
            unfinished.name.write_bytes(content)
            unfinished.finish()
        except BaseException:
            unfinished.discard()
            raise

    def finish(self) -> None:
        """Put the file in place."""
        os.replace(self.name, self.path)

    def discard(self) -> None:
        """Remove what was written."""
        self.name.unlink(missing_ok=True)


def remove_leftovers(folder: str | os.PathLike) -> None:
    """Remove what killed processes of this machine left unfinished in a folder.

    Args:
        folder (str | os.PathLike): May be missing.
    """
    for path in Path(folder).glob('.*.tmp'):
        match = _NAME.fullmatch(path.name)
        if not match or match['host'] != socket.gethostname():
            continue
        pid = int(match['pid'])
        if pid != os.getpid() and not is_other_process(pid):  # other threads may be writing
            path.unlink(missing_ok=True)
