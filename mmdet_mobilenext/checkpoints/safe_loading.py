# SPDX-License-Identifier: Apache-2.0
"""Read checkpoints without running code that is stored in them.

A checkpoint is a pickle, and a pickle may name any Python callable. mmengine either cannot read its
own checkpoints under ``torch.load``'s safe mode or quietly leaves that mode when it fails. The
functions here always stay in it, with stand-ins for the few objects that mmengine's message hub
puts into a checkpoint, and :func:`install_safe_loaders` makes mmengine use them for every scheme.

What this does not cover: pickles that are not checkpoints, that is files given to
``mmengine.load('*.pkl')``, data exchanged between the ranks of one run, MMDetection's own scripts
for converting and publishing models, and the FlexibleRunner strategies of DeepSpeed and ColossalAI.
"""

from __future__ import annotations

import difflib
import errno
import hashlib
import io
import logging
import math
import os
import os.path as osp
import pickle
import pickletools
import re
import tarfile
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import numpy as np
import torch
from mmengine.dist import barrier, get_dist_info
from mmengine.fileio import get_file_backend
from mmengine.logging import HistoryBuffer, print_log
from mmengine.runner import checkpoint as mmengine_checkpoint
from torch import serialization

ALLOW_UNSAFE_VARIABLE = 'MMDET_MOBILENEXT_ALLOW_UNSAFE_CHECKPOINTS'
ALLOW_UNSAFE_FLAG = '--allow-unsafe-checkpoints'


class UnsafeCheckpointError(RuntimeError):
    """A checkpoint asks for objects that are not plain weights.

    Attributes:
        filename (str): The file that was refused.
        globals (list[str]): Full names of what it asks for, such as ``posix.system``. Empty if
            the file's format, not a name, is the reason.
    """

    def __init__(self, filename: str, names: list[str], reason: str = '') -> None:
        self.filename = filename
        self.globals = names
        wants = f'asks for {", ".join(names)}' if names else reason
        super().__init__(
            f'Refused to load checkpoint {filename}: it {wants}. '
            'Only tensors and plain data are read from a checkpoint, because anything else can run '
            'code on this machine. Take the file from another source or save its weights alone '
            '(`torch.save(dict(state_dict=model.state_dict()), path)`). If you trust whoever made '
            f'it, pass {ALLOW_UNSAFE_FLAG} to the tool or set {ALLOW_UNSAFE_VARIABLE}=1.'
        )


class CheckpointFileError(RuntimeError):
    """A file is truncated, damaged, not a checkpoint, or not the one that was asked for."""


class _RefusedError(Exception):
    """Raised by a stand-in below while a pickle is read."""


# --------------------------------------------------------------------------------------------------
# Stand-ins: what the names in a pickle mean to us. They only record data; numpy arrays and history
# buffers are made of it when the whole pickle has been read, so that a file can neither call
# getattr nor give numpy a data type that lies about its memory.


class _Dtype:
    """``numpy.dtype`` of plain numbers or text."""

    names = re.compile(r'b1|[iu][1248]|f[248]|c8|c16|[US]\d{1,6}')

    def __init__(self, name: str, align: bool = False, copy: bool = True) -> None:
        if not isinstance(name, str) or not self.names.fullmatch(name):
            raise _RefusedError(f'numpy.dtype({name!r})')
        self.value = np.dtype(name)

    def __setstate__(self, state: tuple) -> None:
        _, order, subarray, names, fields, *_ = state
        if order not in ('<', '>', '=', '|') or (subarray, names, fields) != (None, None, None):
            raise _RefusedError(f'numpy.dtype with the state {state!r}')
        if order in ('<', '>'):
            self.value = self.value.newbyteorder(order)


def _array(shape: tuple, dtype: Any, fortran: bool, data: Any) -> np.ndarray:
    """Copy bytes into a new array of the machine's byte order."""
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
        raise _RefusedError(f'a numpy array of {type(dtype).__name__} from {type(data).__name__}')
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
        raise _RefusedError(f'a numpy array of type {subtype!r}')
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
        raise _RefusedError(f'builtins.getattr of {owner!r} and {name!r}')
    return name


def _config_dict(items: dict) -> dict:
    """``mmengine.ConfigDict``, in the data set's meta data: read as a plain dict."""
    return dict(items)


_STAND_INS: dict[str, Any] = {
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


def _restore(value: Any, done: dict[int, Any]) -> Any:
    """Replace stand-ins in nested containers by the objects they stand for."""
    if isinstance(value, (_Array, _Dtype)):
        return value.value
    if isinstance(value, _HistoryBuffer):
        if id(value) not in done:
            done[id(value)] = buffer = HistoryBuffer()
            vars(buffer).update(_restore(value.state, done))
        return done[id(value)]
    if isinstance(value, tuple) and type(value) is tuple:
        items = tuple(_restore(item, done) for item in value)
        return value if all(a is b for a, b in zip(items, value, strict=True)) else items
    if isinstance(value, (dict, list)) and id(value) not in done:
        done[id(value)] = value
        keys = list(value) if isinstance(value, dict) else range(len(value))
        for key in keys:
            value[key] = _restore(value[key], done)
    return value


def _name_of(item: Any) -> str:
    """Name under which an entry of torch's list of safe globals is found in a pickle."""
    return item[1] if isinstance(item, tuple) else f'{item.__module__}.{item.__qualname__}'


@contextmanager
def _narrow_globals() -> Iterator[None]:
    """Let ``weights_only`` know the stand-ins, for the time of one load.

    Globals that the user gave to ``torch.serialization.add_safe_globals`` are kept, but where the
    names are the same the stand-in wins: a process-wide ``getattr`` is a usual workaround.
    """
    before = serialization.get_safe_globals()
    others = [item for item in before if _name_of(item) not in _STAND_INS]
    serialization.clear_safe_globals()
    serialization.add_safe_globals(others + [(item, name) for name, item in _STAND_INS.items()])
    try:
        yield
    finally:
        serialization.clear_safe_globals()
        serialization.add_safe_globals(before)


# --------------------------------------------------------------------------------------------------
# Why a load failed


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
        _STAND_INS, map(_name_of, serialization.get_safe_globals())
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


def _explain(error: Exception, stream: BinaryIO, start: int, name: str) -> Exception:
    """Turn what ``torch.load`` raised into an error that says what is wrong with the file."""
    if isinstance(error, _RefusedError):
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


# --------------------------------------------------------------------------------------------------
# The opt-in and the reader


class allow_unsafe_checkpoints:
    """Let checkpoints run the code they ask for, in this process and those it starts.

    Called alone it lasts until the process ends; in a ``with`` statement, until its end. The choice
    is kept in the environment variable ``MMDET_MOBILENEXT_ALLOW_UNSAFE_CHECKPOINTS``, which
    launched ranks and data workers inherit. Safe files are still read safely.

    Args:
        enabled (bool): ``False`` forbids again. Defaults to True.

    Example:
        >>> from mmdet_mobilenext.checkpoints.safe_loading import (
        ...     allow_unsafe_checkpoints, unsafe_checkpoints_allowed)
        >>> with allow_unsafe_checkpoints(False):
        ...     unsafe_checkpoints_allowed()
        False
    """

    def __init__(self, enabled: bool = True) -> None:
        self._before = os.environ.get(ALLOW_UNSAFE_VARIABLE)
        os.environ[ALLOW_UNSAFE_VARIABLE] = '1' if enabled else '0'
        if enabled:
            _warn(
                'UNSAFE CHECKPOINTS ARE ALLOWED: a checkpoint that asks for it can run any code '
                'with your rights. Use this for files of people you trust only.'
            )

    def __enter__(self) -> allow_unsafe_checkpoints:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._before is None:
            os.environ.pop(ALLOW_UNSAFE_VARIABLE, None)
        else:
            os.environ[ALLOW_UNSAFE_VARIABLE] = self._before


def unsafe_checkpoints_allowed() -> bool:
    """Whether the user opted in to unsafe checkpoints.

    Returns:
        bool: State of ``MMDET_MOBILENEXT_ALLOW_UNSAFE_CHECKPOINTS``; unset means False.

    Raises:
        ValueError: If the variable is neither a yes nor a no.

    Example:
        >>> import os
        >>> from mmdet_mobilenext.checkpoints import safe_loading
        >>> _ = os.environ.pop(safe_loading.ALLOW_UNSAFE_VARIABLE, None)
        >>> safe_loading.unsafe_checkpoints_allowed()
        False
    """
    value = os.environ.get(ALLOW_UNSAFE_VARIABLE, '').strip().lower()
    if value in ('1', 'true', 'yes', 'on'):
        return True
    if value in ('', '0', 'false', 'no', 'off'):
        return False
    raise ValueError(f'{ALLOW_UNSAFE_VARIABLE} is {value!r}; set it to 1 or 0')


def _warn(message: str) -> None:
    print_log(f'*** {message} ***', logger='current', level=logging.WARNING)


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
        with _narrow_globals():
            loaded = torch.load(stream, map_location=map_location, weights_only=True)
        return _restore(loaded, {})
    except (MemoryError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # EINVAL: seek in a cut zip
            raise
        if 'deserialize object on' in str(error):  # a device that is not here: not the file's fault
            raise
        problem = _explain(error, stream, start, name)
        if not isinstance(problem, UnsafeCheckpointError):
            raise problem from error
        if allow_unsafe is None:
            allow_unsafe = unsafe_checkpoints_allowed()
        if not allow_unsafe:
            # the cause would print torch's advice to switch the check off
            raise problem from None
    wants = ', '.join(problem.globals) or 'unsafe reading'
    _warn(f'UNSAFE: checkpoint {name} asks for {wants}, and it is allowed to run it')
    stream.seek(start)
    return torch.load(stream, map_location=map_location, weights_only=False)


# --------------------------------------------------------------------------------------------------
# Loaders for mmengine. It prints `loader.__name__[10:]`, so the names start with `load_from_`.


def _split_checksum(url: str) -> tuple[str, str | None]:
    """Split ``url#sha256=<64 hex>`` into the URL and the checksum; no fragment gives None."""
    address, mark, fragment = url.partition('#')
    if not mark:
        return address, None
    match = re.fullmatch(r'sha256=([0-9a-fA-F]{64})', fragment)
    if not match:
        raise ValueError(f'{url}: after "#" there must be sha256= and 64 hex digits')
    return address, match.group(1).lower()


def _file_sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def fetch_checkpoint(url: str, model_dir: str | None = None, progress: bool = False) -> str:
    """Download a checkpoint once and verify it, before anything reads it.

    Args:
        url (str): ``http(s)://...`` whose expected SHA-256 is known: either its file name ends in
            ``-<8 to 64 hex digits>.pth`` as OpenMMLab and torchvision publish them, or
            ``#sha256=<64 hex digits>`` is appended, which has priority.
        model_dir (str | None): Folder of the cache. Defaults to None, which is
            ``<torch hub>/checkpoints``, the cache of mmengine and PyTorch.
        progress (bool): Whether to show a progress bar. Defaults to False.

    Returns:
        str: Path of the verified file.

    Raises:
        ValueError: If the URL says no checksum.
        CheckpointFileError: If the download fails or its checksum is another one.

    Example:
        >>> from mmdet_mobilenext.checkpoints.safe_loading import fetch_checkpoint
        >>> fetch_checkpoint('https://example.org/model.pth')  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: https://example.org/model.pth: no checksum ...
    """
    address, checksum = _split_checksum(url)
    filename = osp.basename(urlsplit(address).path)
    stem, extension = osp.splitext(filename)
    in_name = re.search(r'-([0-9a-f]{8,64})$', stem)
    if checksum is None:
        if not in_name:
            raise ValueError(
                f'{address}: no checksum to verify the download with. Append "#sha256=" and the 64 '
                'hex digits that the publisher gives (or of `sha256sum FILE` for a copy that you '
                'checked), or download it yourself and give the local path.'
            )
        checksum = in_name.group(1)
    elif not in_name:
        filename = f'{stem}-{checksum[:8]}{extension}'  # files called model.pth exist in plenty
    model_dir = model_dir or osp.join(torch.hub.get_dir(), 'checkpoints')
    path = osp.join(model_dir, filename)
    if osp.isfile(path):
        if _file_sha256(path).startswith(checksum):
            return path
        _warn(f'{path} does not have the SHA-256 {checksum}; it is downloaded again')
    os.makedirs(model_dir, exist_ok=True)
    try:
        # writes beside `path`, verifies, and only then renames
        torch.hub.download_url_to_file(address, path, hash_prefix=checksum, progress=progress)
    except (OSError, RuntimeError) as error:
        raise CheckpointFileError(
            f'Cannot download {address} to {path}: {error}. If the checksum differs, the file is '
            'damaged or another one than you mean: do not use it.'
        ) from error
    return path


def load_from_local(filename: str, map_location: Any = None) -> Any:
    """Load a local file; mmengine's scheme ``''``. See :func:`load_safely`."""
    return load_safely(filename, map_location)


def load_from_http(
    filename: str,
    map_location: Any = None,
    model_dir: str | None = None,
    progress: bool | None = None,
) -> Any:
    """Load ``http://`` and ``https://``. See :func:`fetch_checkpoint`; rank 0 downloads first."""
    progress = os.isatty(0) if progress is None else progress
    rank, _ = get_dist_info()
    try:
        if rank == 0:
            path = fetch_checkpoint(filename, model_dir, progress)
    finally:
        barrier()  # also if rank 0 failed: the others then fail alike instead of waiting for it
    if rank != 0:
        path = fetch_checkpoint(filename, model_dir, progress)
    return load_safely(path, map_location)


def load_from_pavi(filename: str, map_location: Any = None) -> Any:
    """Load ``pavi://``."""
    try:
        from pavi import modelcloud
    except ImportError as error:
        raise ImportError(f'{filename}: install pavi to load from its model cloud') from error
    model = modelcloud.get(filename[len('pavi://') :])
    with TemporaryDirectory() as folder:
        path = osp.join(folder, model.name)
        model.download(path)
        return load_safely(path, map_location)


def load_from_ceph(filename: str, map_location: Any = None, backend: str = 'petrel') -> Any:
    """Load ``s3://`` and ``petrel://``."""
    content = get_file_backend(filename, backend_args=dict(backend=backend)).get(filename)
    stream = io.BytesIO(content)
    stream.name = filename  # for the messages
    return load_safely(stream, map_location)


def _resolve(filename: str, table: Mapping[str, str | None], what: str) -> str:
    """Turn ``scheme://name`` into the URL of a table; a ``#sha256=`` behind the name is kept."""
    address, checksum = _split_checksum(filename)
    name = address.split('://', 1)[1]
    url = table.get(name)
    if url is None:
        near = difflib.get_close_matches(name, [k for k, v in table.items() if v], n=5)
        hint = f'; near ones are {", ".join(near)}' if near else ''
        raise ValueError(f'{filename}: {what} has no weights called {name!r}{hint}')
    return url if checksum is None else f'{url}#sha256={checksum}'


def load_from_torchvision(filename: str, map_location: Any = None) -> Any:
    """Load ``torchvision://`` and its old name ``modelzoo://``, through torchvision's table."""
    try:
        table = mmengine_checkpoint.get_torchvision_models()
    except ImportError as error:
        raise ImportError(
            f'{filename}: torchvision, which has the addresses, cannot be imported ({error}). Give '
            'the https:// address of the weights or a local path instead.'
        ) from error
    return load_from_http(_resolve(filename, table, 'torchvision'), map_location)


def load_from_openmmlab(filename: str, map_location: Any = None) -> Any:
    """Load ``open-mmlab://`` and ``openmmlab://``, through mmengine's table."""
    scheme, name = filename.split('://', 1)
    renamed = mmengine_checkpoint.get_deprecated_model_names().get(name)
    if renamed:
        print_log(f'{filename} is now called {scheme}://{renamed}', 'current', logging.WARNING)
        filename = f'{scheme}://{renamed}'
    address = _resolve(filename, mmengine_checkpoint.get_external_models(), "mmengine's table")
    if address.startswith(('http://', 'https://')):
        return load_from_http(address, map_location)
    # the user's own table may name files below mmengine's home
    return load_safely(osp.join(mmengine_checkpoint._get_mmengine_home(), address), map_location)


def load_from_mmcls(filename: str, map_location: Any = None) -> Any:
    """Load ``mmcls://``, through mmengine's table; only the backbone is kept."""
    address = _resolve(filename, mmengine_checkpoint.get_mmcls_models(), "mmengine's mmcls table")
    checkpoint = load_from_http(address, map_location)
    return mmengine_checkpoint._process_mmcls_checkpoint(checkpoint)


def install_safe_loaders() -> None:
    """Make mmengine load every checkpoint through :func:`load_safely`.

    Replaces the loader of each scheme that mmengine knows: local files, http(s), torchvision,
    modelzoo, open-mmlab, mmcls, pavi, s3 and petrel. ``load_from``, ``--resume``,
    ``init_cfg=dict(type='Pretrained', ...)``, ``mmengine.runner.load_checkpoint`` and the backbones
    of MMDetection all go through them. May be called any number of times.

    Example:
        >>> from mmdet_mobilenext.checkpoints.safe_loading import install_safe_loaders
        >>> from mmengine.runner import CheckpointLoader
        >>> install_safe_loaders()
        >>> CheckpointLoader._get_checkpoint_loader('work_dirs/epoch_1.pth').__module__
        'mmdet_mobilenext.checkpoints.safe_loading'
    """
    loaders = {
        ('',): load_from_local,
        ('http://', 'https://'): load_from_http,
        ('pavi://',): load_from_pavi,
        (r'(\S+\:)?s3://', r'(\S+\:)?petrel://'): load_from_ceph,
        ('modelzoo://', 'torchvision://'): load_from_torchvision,
        ('open-mmlab://', 'openmmlab://'): load_from_openmmlab,
        ('mmcls://',): load_from_mmcls,
    }
    for prefixes, loader in loaders.items():
        mmengine_checkpoint.CheckpointLoader.register_scheme(list(prefixes), loader, force=True)
