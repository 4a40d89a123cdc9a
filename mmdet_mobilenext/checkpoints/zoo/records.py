# SPDX-License-Identifier: Apache-2.0
"""What is written beside fetched weights, and trust on first use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmdet_mobilenext.engine.atomic_checkpoint_hook import AtomicLocalBackend

from .errors import WeightsError

__all__ = ['TRUSTED', 'check_trust', 'read_json', 'remember', 'write_json']

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
    except ValueError as error:
        raise WeightsError(
            f'{path} is damaged ({error}): it says what the weights beside it are. Look at it, or '
            'remove it and fetch again'
        ) from error
    return content


def check_trust(folder: Path, name: str, sha256: str, origin: str, trust_new: bool) -> None:
    """Refuse a file that is another one than the first of its name.

    Args:
        folder (Path): Folder of the weights.
        name (str): Name of the entry.
        sha256 (str): Of the file at hand.
        origin (str): Where it is from, for the message.
        trust_new (bool): Accept it all the same.

    Raises:
        WeightsError: With both hashes.
    """
    first = read_json(folder / TRUSTED).get(name)
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
    trusted = read_json(folder / TRUSTED)
    entry = dict(sha256=sha256, origin=origin, date=date, size=size)
    if trusted.get(name, {}).get('sha256') != sha256:
        write_json({**trusted, name: entry}, folder / TRUSTED)
