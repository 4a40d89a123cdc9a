# SPDX-License-Identifier: Apache-2.0
"""The reader: ``torch.load`` that never leaves its safe mode unasked."""

from __future__ import annotations

import errno
import os
import os.path as osp
from typing import Any, BinaryIO

import torch

from .diagnosis import explain
from .errors import UnsafeCheckpointError
from .opt_in import unsafe_checkpoints_allowed, warn
from .stand_ins import narrow_globals, restore

__all__ = ['load_safely']


def load_safely(
    path_or_file: str | os.PathLike | BinaryIO,
    map_location: Any = 'cpu',
    allow_unsafe: bool | None = None,
) -> Any:
    """Read a checkpoint of PyTorch or mmengine without running code from it.

    Args:
        path_or_file (str | os.PathLike | BinaryIO): A local file, or a seekable binary stream.
        map_location (str | torch.device | dict | Callable | None): As in :func:`torch.load`.
            Defaults to ``'cpu'``.
        allow_unsafe (bool | None): Whether a file that needs foreign code is loaded all the same,
            with a warning. None asks :func:`unsafe_checkpoints_allowed`. Defaults to None.

    Returns:
        object: What was saved, usually a dict. Tensors keep shape and dtype; arrays come in the
        machine's byte order; an mmengine ``ConfigDict`` comes as a dict.

    Raises:
        FileNotFoundError: If there is no such file.
        UnsafeCheckpointError: If the file asks for anything but tensors, containers, numpy data
            and mmengine's history buffers. It names what the file asks for.
        CheckpointFileError: If the file is truncated, damaged or no checkpoint.

    Example:
        >>> import os, tempfile, torch
        >>> from mmdet_mobilenext.checkpoints.safe_loading import load_safely
        >>> path = os.path.join(tempfile.mkdtemp(), 'weights.pth')
        >>> torch.save({'state_dict': {'weight': torch.ones(2, 3)}}, path)
        >>> load_safely(path)['state_dict']['weight'].shape
        torch.Size([2, 3])
    """
    if isinstance(path_or_file, (str, os.PathLike)):
        path = osp.expanduser(os.fspath(path_or_file))
        if not osp.isfile(path):
            what = 'is a directory, not a file' if osp.isdir(path) else 'does not exist'
            raise FileNotFoundError(f'Checkpoint {path} {what} (seen from {os.getcwd()})')
        with open(path, 'rb') as stream:
            return _load_stream(stream, path, map_location, allow_unsafe)
    name = str(getattr(path_or_file, 'name', '<stream>'))
    return _load_stream(path_or_file, name, map_location, allow_unsafe)


def _load_stream(stream: BinaryIO, name: str, map_location: Any, allow_unsafe: bool | None) -> Any:
    start = stream.tell()
    try:
        with narrow_globals():
            loaded = torch.load(stream, map_location=map_location, weights_only=True)
        return restore(loaded, {})
    except (MemoryError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # EINVAL: seek in a cut zip
            raise
        if 'deserialize object on' in str(error):  # a device that is not here: not the file's fault
            raise
        problem = explain(error, stream, start, name)
        if not isinstance(problem, UnsafeCheckpointError):
            raise problem from error
        if allow_unsafe is None:
            allow_unsafe = unsafe_checkpoints_allowed()
        if not allow_unsafe:
            # the cause would print torch's advice to switch the check off
            raise problem from None
    wants = ', '.join(problem.globals) or 'unsafe reading'
    warn(f'UNSAFE: checkpoint {name} asks for {wants}, and it is allowed to run it')
    stream.seek(start)
    return torch.load(stream, map_location=map_location, weights_only=False)
