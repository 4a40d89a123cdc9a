# SPDX-License-Identifier: Apache-2.0
"""Loaders for the schemes of mmengine, such as ``https://`` and ``torchvision://``.

mmengine prints ``loader.__name__[10:]``, so the names start with ``load_from_``.
"""

from __future__ import annotations

import difflib
import io
import logging
import os
import os.path as osp
from collections.abc import Mapping
from tempfile import TemporaryDirectory
from typing import Any

from mmengine.dist import barrier, get_dist_info
from mmengine.fileio import get_file_backend
from mmengine.logging import print_log
from mmengine.runner import checkpoint as mmengine_checkpoint

from .download import fetch_checkpoint, split_checksum
from .reader import load_safely

__all__ = [
    'install_safe_loaders',
    'load_from_ceph',
    'load_from_http',
    'load_from_local',
    'load_from_mmcls',
    'load_from_openmmlab',
    'load_from_pavi',
    'load_from_torchvision',
]


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
    address, checksum = split_checksum(filename)
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
        'mmdet_mobilenext.checkpoints.safe_loading.schemes'
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
