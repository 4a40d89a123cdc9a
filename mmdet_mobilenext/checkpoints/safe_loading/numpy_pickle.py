# SPDX-License-Identifier: Apache-2.0
"""The reader of pickles that hold numpy arrays, such as PaddlePaddle's ``.pdparams``.

``torch.load`` cannot read them: they are plain pickles of protocol 2 to 4.
"""

from __future__ import annotations

import io
import os
import pickle
import pickletools
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .diagnosis import _describe
from .errors import CheckpointFileError, UnsafeCheckpointError
from .stand_ins import RefusedError, _Array, _Dtype, _empty_bytes

__all__ = ['load_numpy_pickle']

# All that a pickle of dicts, lists, tuples, text, numbers and arrays is made of.
_INSTRUCTIONS = frozenset(
    (
        'PROTO FRAME STOP MARK POP POP_MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 '
        'BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 '
        'EMPTY_DICT SETITEM SETITEMS EMPTY_LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 '
        'TUPLE3 BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD'
    ).split()
)
# An array takes five or so. Python itself crashes on tuples nested some ten thousand times.
_MAX_TUPLES = 20_000


class _RefusedPickleError(UnsafeCheckpointError):
    """As its base, without the advice to allow it: there is no such choice for these files."""

    def __init__(self, filename: str, wants: str) -> None:
        self.filename = filename
        self.globals = [wants]
        RuntimeError.__init__(
            self,
            f'Refused to load {filename}: it asks for {wants}. Nothing of it was run. Only arrays '
            'of numbers in plain containers are read from such a file, because anything else can '
            'run code on this machine. Take the file from its publisher, or save the weights alone '
            '(`paddle.save(model.state_dict(), path)`)',
        )


class _Callable:
    """What a name in a pickle means to us. Unlike a function it cannot be changed by the pickle."""

    __slots__ = ('_call',)

    def __init__(self, call: Callable) -> None:
        self._call = call

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __setstate__(self, state: Any) -> None:
        raise RefusedError('changing a function')


class _Budget:
    """How many bytes may still be made: no more than the file has, however often it repeats one."""

    def __init__(self, size: int) -> None:
        self.left = size

    def take(self, data: Any) -> Any:
        self.left -= len(data)
        if self.left < 0:
            raise RefusedError('more data than the file has')
        return data


class _BudgetedArray(_Array):
    """``numpy.ndarray``."""

    def __init__(self, budget: _Budget) -> None:
        self._budget = budget

    def __setstate__(self, state: tuple) -> None:
        super().__setstate__((*state[-4:-1], self._budget.take(state[-1])))


def _admitted(size: int) -> dict[str, Any]:
    """The names that a pickle may use, for one load of a file of that size."""
    arrays, texts = _Budget(size), _Budget(size)

    def ndarray(*args: Any) -> None:
        raise RefusedError('numpy.ndarray to be called')

    def reconstruct(subtype: Any, *_: Any) -> _BudgetedArray:
        if subtype is not array_type:
            raise RefusedError(f'a numpy array of type {type(subtype).__name__}')
        return _BudgetedArray(arrays)

    def encode(text: str, encoding: str) -> bytes:
        # How protocol 2 writes bytes.
        if not isinstance(text, str) or encoding != 'latin1':
            raise RefusedError(f'_codecs.encode to {str(encoding)[:40]!r}')
        return texts.take(text).encode('latin1')

    array_type = _Callable(ndarray)
    return {
        '_codecs.encode': _Callable(encode),
        'builtins.bytes': _Callable(_empty_bytes),
        'collections.OrderedDict': _Callable(dict),
        'numpy.dtype': _Callable(_Dtype),
        'numpy.ndarray': array_type,
        # numpy 2 and numpy 1 names
        'numpy._core.multiarray._reconstruct': _Callable(reconstruct),
        'numpy.core.multiarray._reconstruct': _Callable(reconstruct),
    }


class _Unpickler(pickle.Unpickler):
    """An unpickler that knows those names only."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self._admitted = _admitted(len(data))

    def find_class(self, module: str, name: str) -> Any:
        # Protocol 2 has the names of Python 2.
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        if f'{module}.{name}' not in self._admitted:
            raise RefusedError(f'{module}.{name}')
        return self._admitted[f'{module}.{name}']


def _check_instructions(data: bytes) -> None:
    """Read the instructions, without running them, and refuse what can exhaust the memory."""
    stream = io.BytesIO(data)
    puts = tuples = 0
    for opcode, argument, _ in pickletools.genops(stream):
        kind = opcode.name
        if kind not in _INSTRUCTIONS:
            raise RefusedError(f'the pickle instruction {kind}')
        if 'PUT' in kind or kind == 'MEMOIZE':
            puts += 1
            if argument is not None and argument > puts:  # the memo would be made that long
                raise ValueError(f'object {argument} of a memo of {puts}')
        tuples += kind.startswith('TUPLE')
    if tuples > _MAX_TUPLES:
        raise RefusedError(f'{tuples} tuples')
    if rest := len(data) - stream.tell():
        raise ValueError(f'{rest} bytes follow its end')


def load_numpy_pickle(path: str | os.PathLike) -> Any:
    """Read a pickle of numpy arrays in plain containers without running code from it.

    The only names that the file may use are those by which numpy arrays of numbers and text are
    pickled, and ``OrderedDict``, which comes as a dict. The memory needed is a small multiple of
    the file's size, whatever the file says.

    Args:
        path (str | os.PathLike): A local file, a pickle of protocol 2 to 4.

    Returns:
        object: What was saved. Arrays at the top or directly in a dict there keep shape and dtype,
        in the machine's byte order; deeper ones are not restored.

    Raises:
        FileNotFoundError: If there is no such file.
        UnsafeCheckpointError: If the file asks for anything else. It names what, and nothing of
            the file was run.
        CheckpointFileError: If the file is truncated, damaged or no pickle.

    Example:
        >>> import os, pickle, tempfile
        >>> import numpy as np
        >>> from mmdet_mobilenext.checkpoints.safe_loading import load_numpy_pickle
        >>> path = os.path.join(tempfile.mkdtemp(), 'weights.pdparams')
        >>> with open(path, 'wb') as file:
        ...     pickle.dump({'weight': np.ones((2, 3), np.float32)}, file, protocol=4)
        >>> load_numpy_pickle(path)['weight'].shape
        (2, 3)
    """
    path = Path(path).expanduser()
    if not path.is_file():
        what = 'is a directory, not a file' if path.is_dir() else 'does not exist'
        raise FileNotFoundError(f'{path} {what} (seen from {os.getcwd()})')
    data = path.read_bytes()
    try:
        _check_instructions(data)
        loaded = _Unpickler(data).load()
        if isinstance(loaded, dict):
            return {k: v.value if isinstance(v, _Array) else v for k, v in loaded.items()}
        return loaded.value if isinstance(loaded, _Array) else loaded
    except RefusedError as error:
        raise _RefusedPickleError(str(path), str(error)) from None
    except Exception as error:  # whatever damage can cause
        what = _describe(io.BytesIO(data), 0).replace('a PyTorch checkpoint', 'a pickle of arrays')
        raise CheckpointFileError(
            f'{path} {what}. Copy or download it again. The reader said: {str(error)[:200]}'
        ) from error
