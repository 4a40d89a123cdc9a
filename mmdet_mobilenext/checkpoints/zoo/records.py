# SPDX-License-Identifier: Apache-2.0
"""What is written beside fetched weights, and trust on first use."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmdet_mobilenext.engine.atomic_checkpoint_hook import AtomicLocalBackend

from .errors import WeightsError

__all__ = [
    'TRUSTED',
    'check_trust',
    'read_json',
    'read_record',
    'read_trusted',
    'remember',
    'write_json',
]

TRUSTED = 'trusted.json'
"""File in the folder of the weights: the first SHA-256 of each file that none is published for."""


def write_json(content: Any, path: Path) -> None:
    """Write a JSON file, whole or not at all.

    Args:
        content (Any): What ``json`` can write.
        path (Path): File to write.
    """
    AtomicLocalBackend().put_text(json.dumps(content, indent=2, sort_keys=True) + '\n', path)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file.

    Args:
        path (Path): File to read.

    Returns:
        dict: Its content; empty if there is no such file.

    Raises:
        WeightsError: If it is damaged.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        if not isinstance(content, dict):
            raise ValueError(f'it holds a {type(content).__name__}, not an object')
    except (ValueError, RecursionError) as error:
        raise _damaged(path, error) from error
    return content


def read_record(path: Path) -> dict[str, Any]:
    """Read what was written beside weights.

    Args:
        path (Path): ``NAME.json``.

    Returns:
        dict: ``entry``, ``verified``, ``source_sha256``, ``sha256`` and more; empty if there is no
        such file.

    Raises:
        WeightsError: If it is damaged.
    """
    record = read_json(path)
    if record:
        _check_texts(record, ('entry', 'verified', 'source_sha256', 'sha256'), path, 'it')
    return record


def read_trusted(folder: Path) -> dict[str, dict[str, Any]]:
    """Read which files were trusted on first use.

    Args:
        folder (Path): Folder of the weights.

    Returns:
        dict: Name of the entry to ``sha256``, ``origin``, ``date`` and ``size`` of its file.

    Raises:
        WeightsError: If the file :data:`TRUSTED` is damaged.
    """
    path = folder / TRUSTED
    trusted = read_json(path)
    for name, entry in trusted.items():
        _check_texts(entry, ('sha256', 'origin', 'date'), path, repr(name))
    return trusted


def _check_texts(content: Any, keys: Sequence[str], path: Path, what: str) -> None:
    if not isinstance(content, dict):
        raise _damaged(path, f'{what} is a {type(content).__name__}, not an object')
    for key in keys:
        if not isinstance(content.get(key), str):
            raise _damaged(path, f'`{key}` of {what} must be text, but is {content.get(key)!r}')


def _damaged(path: Path, why: object) -> WeightsError:
    return WeightsError(
        f'{path} is damaged ({why}): it says what the weights beside it are. Look at it, or '
        'remove it and fetch again'
    )


def check_trust(folder: Path, name: str, sha256: str, origin: str, trust_new: bool) -> None:
    """Refuse a file that is another one than the first of its name.

    Args:
        folder (Path): Folder of the weights.
        name (str): Name of the entry.
        sha256 (str): Of the file at hand.
        origin (str): Where it is from, for the message.
        trust_new (bool): Accept it all the same.

    Raises:
        WeightsError: With both hashes; or the file :data:`TRUSTED` is damaged.
    """
    first = read_trusted(folder).get(name)
    if first is None or first['sha256'] == sha256 or trust_new:
        return
    raise WeightsError(
        f'{name}: this is another file than the first one that was trusted.\n'
        f'  first:  sha256 {first["sha256"]}, {first["date"]}, from {first["origin"]}\n'
        f'  now:    sha256 {sha256}, from {origin}\n'
        'No checksum is published for it, so which of them is the right one cannot be told here. '
        'If you know why it has changed, pass --trust-new'
    )


def remember(folder: Path, name: str, sha256: str, origin: str, date: str, size: int) -> None:
    """Record the file that is trusted from now on.

    Args:
        folder (Path): Folder of the weights.
        name (str): Name of the entry.
        sha256 (str): Of the file.
        origin (str): Address or path.
        date (str): When it was fetched.
        size (int): Bytes.
    """
    trusted = read_trusted(folder)
    entry = dict(sha256=sha256, origin=origin, date=date, size=size)
    if trusted.get(name, {}).get('sha256') != sha256:
        write_json({**trusted, name: entry}, folder / TRUSTED)
