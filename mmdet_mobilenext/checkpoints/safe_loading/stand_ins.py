# SPDX-License-Identifier: Apache-2.0
"""Stand-ins: what the names in a pickle mean to us.

They only record data; numpy arrays and history buffers are made of it when the whole pickle has
been read, so that a file can neither call getattr nor give numpy a data type that lies about its
memory.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from mmengine.logging import HistoryBuffer
from torch import serialization

__all__ = ['STAND_INS', 'RefusedError', 'name_of', 'narrow_globals', 'restore']


class RefusedError(Exception):
    """Raised by a stand-in below while a pickle is read."""


class _Dtype:
    """``numpy.dtype`` of plain numbers or text."""

    names = re.compile(r'b1|[iu][1248]|f[248]|c8|c16|[US]\d{1,6}')

    def __init__(self, name: str, align: bool = False, copy: bool = True) -> None:
        if not isinstance(name, str) or not self.names.fullmatch(name):
            raise RefusedError(f'numpy.dtype({name!r})')
        self.value = np.dtype(name)

    def __setstate__(self, state: tuple) -> None:
        _, order, subarray, names, fields, *_ = state
        if order not in ('<', '>', '=', '|') or (subarray, names, fields) != (None, None, None):
            raise RefusedError(f'numpy.dtype with the state {state!r}')
        if order in ('<', '>'):
            self.value = self.value.newbyteorder(order)


def _array(shape: tuple, dtype: Any, fortran: bool, data: Any) -> np.ndarray:
    """Copy bytes into a new array of the machine's byte order."""
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
        raise RefusedError(f'a numpy array of {type(dtype).__name__} from {type(data).__name__}')
    if math.prod(shape) * dtype.value.itemsize != len(data):
        raise ValueError(f'an array of shape {shape} and {dtype.value} with {len(data)} bytes')
    array = np.ndarray(shape, dtype.value, data, order='F' if fortran else 'C')
    return array.astype(dtype.value.newbyteorder('='))


class _Array:
    """``numpy.ndarray``."""

    value: np.ndarray
    __hash__ = None  # type: ignore[assignment]

    def __setstate__(self, state: tuple) -> None:
        self.value = _array(*state[-4:])


def _reconstruct(subtype: type, shape: tuple, typecode: bytes) -> _Array:
    """``numpy.core.multiarray._reconstruct``: an array that the pickle fills afterwards."""
    if subtype is not _Array:
        raise RefusedError(f'a numpy array of type {subtype!r}')
    return _Array()


def _scalar(dtype: Any, data: bytes) -> np.generic:
    """``numpy.core.multiarray.scalar``."""
    return _array((), dtype, False, data)[()]


def _empty_bytes() -> bytes:
    """``bytes()``, which is how pickle protocol 2 writes the data of an empty array."""
    return b''


class _HistoryBuffer:
    """``mmengine.logging.HistoryBuffer``."""

    __hash__ = None  # type: ignore[assignment]
    state: dict

    def __setstate__(self, state: dict) -> None:
        # mmengine pickles the class-wide table of methods too. It is there already, and taking it
        # from a file would let the file change the methods of all buffers.
        self.state = {k: v for k, v in state.items() if k != 'statistics_methods'}


def _history_method(owner: Any, name: str) -> str:
    """``getattr(HistoryBuffer, name)``, the one use of getattr in mmengine's checkpoints."""
    if owner is not _HistoryBuffer:
        raise RefusedError(f'builtins.getattr of {owner!r} and {name!r}')
    return name


def _config_dict(items: dict) -> dict:
    """``mmengine.ConfigDict``, in the data set's meta data: read as a plain dict."""
    return dict(items)


STAND_INS: dict[str, Any] = {
    'builtins.bytes': _empty_bytes,
    'builtins.getattr': _history_method,
    'mmengine.config.config.ConfigDict': _config_dict,
    'mmengine.logging.history_buffer.HistoryBuffer': _HistoryBuffer,
    'numpy.dtype': _Dtype,
    'numpy.ndarray': _Array,
    # numpy 2 and numpy 1 names; either reads the other's files
    'numpy._core.multiarray._reconstruct': _reconstruct,
    'numpy._core.multiarray.scalar': _scalar,
    'numpy.core.multiarray._reconstruct': _reconstruct,
    'numpy.core.multiarray.scalar': _scalar,
}


def restore(value: Any, done: dict[int, Any]) -> Any:
    """Replace stand-ins in nested containers by the objects they stand for."""
    if isinstance(value, (_Array, _Dtype)):
        return value.value
    if isinstance(value, _HistoryBuffer):
        if id(value) not in done:
            done[id(value)] = buffer = HistoryBuffer()
            vars(buffer).update(restore(value.state, done))
        return done[id(value)]
    if isinstance(value, tuple) and type(value) is tuple:
        items = tuple(restore(item, done) for item in value)
        return value if all(a is b for a, b in zip(items, value, strict=True)) else items
    if isinstance(value, (dict, list)) and id(value) not in done:
        done[id(value)] = value
        keys = list(value) if isinstance(value, dict) else range(len(value))
        for key in keys:
            value[key] = restore(value[key], done)
    return value


def name_of(item: Any) -> str:
    """Name under which an entry of torch's list of safe globals is found in a pickle."""
    return item[1] if isinstance(item, tuple) else f'{item.__module__}.{item.__qualname__}'


@contextmanager
def narrow_globals() -> Iterator[None]:
    """Let ``weights_only`` know the stand-ins, for the time of one load.

    Globals that the user gave to ``torch.serialization.add_safe_globals`` are kept, but where the
    names are the same the stand-in wins: a process-wide ``getattr`` is a usual workaround.
    """
    before = serialization.get_safe_globals()
    others = [item for item in before if name_of(item) not in STAND_INS]
    serialization.clear_safe_globals()
    serialization.add_safe_globals(others + [(item, name) for name, item in STAND_INS.items()])
    try:
        yield
    finally:
        serialization.clear_safe_globals()
        serialization.add_safe_globals(before)
