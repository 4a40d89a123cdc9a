# SPDX-License-Identifier: Apache-2.0
"""Download checkpoints and verify them before anything reads them."""

from __future__ import annotations

import os
import os.path as osp
import re
from urllib.parse import urlsplit

import torch

from mmdet_mobilenext.checksum import sha256_of

from .errors import CheckpointFileError
from .opt_in import warn

__all__ = ['fetch_checkpoint', 'split_checksum']


def split_checksum(url: str) -> tuple[str, str | None]:
    """Split ``url#sha256=<64 hex>`` into the URL and the checksum; no fragment gives None."""
    address, mark, fragment = url.partition('#')
    if not mark:
        return address, None
    match = re.fullmatch(r'sha256=([0-9a-fA-F]{64})', fragment)
    if not match:
        raise ValueError(f'{url}: after "#" there must be sha256= and 64 hex digits')
    return address, match.group(1).lower()


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
    address, checksum = split_checksum(url)
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
        if sha256_of(path).startswith(checksum):
            return path
        warn(f'{path} does not have the SHA-256 {checksum}; it is downloaded again')
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
