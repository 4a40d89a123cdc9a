# SPDX-License-Identifier: Apache-2.0
"""What the results in a folder were made with, so that none of anything else are taken for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmdet_mobilenext.benchmark.errors import MixedRunsError
from mmdet_mobilenext.benchmark.fingerprint import differences, flatten_config
from mmdet_mobilenext.benchmark.folder import read_json, write_json
from mmdet_mobilenext.checksum import sha256_of

from .crops import STAMP

__all__ = ['config_settings', 'refuse_mixed']

SETTINGS_FILE = 'settings.json'
"""File in a folder of results that says what they were made with."""


def config_settings(cfg: Config, prefix: str = '') -> dict[str, str]:
    """What a config says of a result, and the digest of the crops that it names.

    Args:
        cfg (Config): Config of a search or of a training.
        prefix (str): Put before each key. Defaults to none.

    Returns:
        dict[str, str]: Flat, see :func:`~mmdet_mobilenext.benchmark.fingerprint.flatten_config`.
        Where the data lies is no part of it.

    Example:
        >>> cfg = Config(dict(max_epochs=2, data_root='x', crops=dict(size=32)))
        >>> config_settings(cfg, 'train.')
        {'train.max_epochs': '2'}
    """
    flat = {
        f'{prefix}{key}': value
        for key, value in flatten_config(cfg).items()
        if not key.startswith('crops.')  # their stamp tells what they really are
    }
    stamp = Path(cfg.get('data_root') or '') / STAMP
    if stamp.is_file():
        flat[f'{prefix}{STAMP}'] = sha256_of(stamp)[:16]
    return flat


def refuse_mixed(folder: Path, settings: Mapping[str, Any]) -> None:
    """Note what the results in a folder are made with, or refuse to go on with those of others.

    Args:
        folder (Path): Folder of the results; made if it is not there.
        settings (Mapping): Plain data, flat.

    Raises:
        MixedRunsError: If the folder holds something made with other settings, or with none that
            are known.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> refuse_mixed(folder, dict(seed=0))
        >>> refuse_mixed(folder, dict(seed=1))
        Traceback (most recent call last):
        ...
        mmdet_mobilenext.benchmark.errors.MixedRunsError: ... other settings: seed: 0 -> 1...
    """
    path = folder / SETTINGS_FILE
    before = read_json(path)
    if before is None:
        if folder.exists() and any(folder.iterdir()):
            raise MixedRunsError(
                f'{folder} holds runs, but no {path.name} that says of what: choose another '
                '--work-dir, or remove the folder'
            )
        write_json(dict(settings), path)
    elif before != settings:
        raise MixedRunsError(
            f'{folder} holds runs made with other settings: '
            f'{"; ".join(differences(before, settings))}. Choose another --work-dir, undo the '
            'change, or remove the folder'
        )
