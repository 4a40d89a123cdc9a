# SPDX-License-Identifier: Apache-2.0
"""Why a load failed: what a file asks for, or what is wrong with it."""

from __future__ import annotations

import io
import os
import os.path as osp
import pickle
import pickletools
import tarfile
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from typing import BinaryIO

import torch
from torch import serialization

from .errors import CheckpointFileError, UnsafeCheckpointError
from .stand_ins import STAND_INS, RefusedError, name_of

__all__ = ['explain']


def _list_globals(stream: BinaryIO, names: set[str]) -> None:
    """Add what one pickle asks for, found by reading its instructions, not by running them."""
    memo: dict[int, str] = {}
    strings: list[str] = []
    for opcode, argument, _ in pickletools.genops(stream):
        kind = opcode.name
        if kind in ('GLOBAL', 'INST', 'STACK_GLOBAL'):
            if kind == 'STACK_GLOBAL':
                module, name = ['?', '?', *strings][-2:]
            else:
                module, name = argument.split(' ', 1)
            module, name = NAME_MAPPING.get(
                (module, name), (IMPORT_MAPPING.get(module, module), name)
            )
            names.add(f'{module}.{name}')
        elif 'UNICODE' in kind or 'STRING' in kind:
            strings.append(argument if isinstance(argument, str) else repr(argument))
        elif kind == 'MEMOIZE' or 'PUT' in kind:
            memo[len(memo) if argument is None else argument] = strings[-1] if strings else '?'
        elif kind in ('GET', 'BINGET', 'LONG_BINGET'):
            strings.append(memo.get(argument, '?'))
        elif kind in ('EXT1', 'EXT2', 'EXT4'):
            names.add(f'copyreg extension {argument}')


def _pickles(stream: BinaryIO, start: int) -> list[BinaryIO]:
    """The pickle inside a zip checkpoint, or the stream itself, once for each of its pickles."""
    stream.seek(start)
    is_zip = stream.read(4) == b'PK\x03\x04'
    stream.seek(start)
    if is_zip:
        with zipfile.ZipFile(stream) as archive:
            return [
                io.BytesIO(archive.read(name))
                for name in archive.namelist()
                if osp.basename(name) == 'data.pkl'
            ]
    # magic number, protocol, system, the object, storage keys; raw storages follow
    return [stream] * 5


def _foreign_globals(stream: BinaryIO, start: int) -> tuple[list[str], bool]:
    """Foreign names in a file, and whether its pickles could be read to their ends."""
    unpickler = getattr(torch, '_weights_only_unpickler', None)  # private: without it we list more
    known = set(getattr(unpickler, '_get_allowed_globals', dict)()).union(
        STAND_INS, map(name_of, serialization.get_safe_globals())
    )
    names: set[str] = set()
    end = -1  # of the last pickle that could be read to its end
    try:
        for part in _pickles(stream, start):
            _list_globals(part, names)
            end = stream.tell()
        whole = end >= 0
    except Exception:  # whatever damage can cause; what is not of PyTorch has fewer pickles
        whole = end == stream.seek(0, os.SEEK_END)
    return sorted(names - known), whole


def _describe(stream: BinaryIO, start: int) -> str:
    """Size of a file and what its first bytes say about it."""
    size = stream.seek(0, os.SEEK_END) - start
    stream.seek(start)
    head = stream.read(64)
    if not size:
        return 'is empty (0 bytes)'
    if head.startswith(b'version https://git-lfs'):
        return f'is a Git LFS pointer, not the file itself ({size} bytes); run `git lfs pull`'
    if head.lstrip().startswith(b'<'):
        return f'is a web page or XML, not a checkpoint ({size} bytes)'
    return f'is truncated, damaged or not a PyTorch checkpoint ({size} bytes)'


def explain(error: Exception, stream: BinaryIO, start: int, name: str) -> Exception:
    """Turn what ``torch.load`` raised into an error that says what is wrong with the file."""
    if isinstance(error, RefusedError):
        return UnsafeCheckpointError(name, [str(error)])
    if 'TorchScript' in str(error):
        return UnsafeCheckpointError(name, [], 'is a TorchScript archive, which is a program')
    foreign, whole = _foreign_globals(stream, start)
    if foreign:
        return UnsafeCheckpointError(name, foreign)
    if 'legacy .tar format' in str(error) or _is_tar(stream, start):
        return UnsafeCheckpointError(name, [], 'has the tar format of PyTorch before 0.2')
    detail = str(error).rsplit('WeightsUnpickler error:', 1)[-1].strip() or type(error).__name__
    detail = detail.splitlines()[0]
    if whole and isinstance(error, pickle.UnpicklingError):
        reason = f'is outside the safe pickle subset, which is of protocol 2 ({detail})'
        return UnsafeCheckpointError(name, [], reason)
    return CheckpointFileError(
        f'Checkpoint {name} {_describe(stream, start)}. Copy or download it again, or use an '
        f'earlier checkpoint. The reader said: {detail}'
    )


def _is_tar(stream: BinaryIO, start: int) -> bool:
    stream.seek(start)
    try:
        with tarfile.open(fileobj=stream, mode='r:'):
            return True
    except (tarfile.TarError, OSError, ValueError):
        return False
