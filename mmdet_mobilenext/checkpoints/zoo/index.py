# SPDX-License-Identifier: Apache-2.0
"""Read ``model-index.yml`` and the ``metafile.yml`` files that it imports.

The form is OpenMMLab's (https://github.com/paperswithcode/model-index); the keys that this project
adds are told at the top of ``configs/metafile.yml``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .errors import WeightsError

__all__ = ['WeightsEntry', 'read_index']

_HASH = re.compile(r'unverified|prefix [0-9a-f]{8,63}|[0-9a-f]{64}')
_NEEDED = (
    'Name',
    'Config',
    'Weights',
    'Download',
    'Converter',
    'Source',
    'License',
    'SHA256',
    'Accuracy',
)
_DOWNLOADS = ('direct', 'manual')


@dataclass(frozen=True)
class WeightsEntry:
    """Weights that somebody has published.

    Attributes:
        name (str): Unique name, and that of the file without ``.pth``.
        config (Path): Config of the network.
        url (str): Address of the file, or of a page with a download that a person has to click.
        mirrors (tuple[str, ...]): Other addresses of the same file.
        manual (bool): Whether ``url`` is such a page.
        converter (str): A key of ``checkpoints.convert.SOURCES``.
        scores (str, optional): ``'softmax'`` or ``'sigmoid'``, of a detector whose file does not
            tell; None otherwise.
        sha256 (str): 64 digits, ``'prefix '`` and the digits that are known, or ``'unverified'``.
        license (str): Licence of the place that holds the file.
        source (str): Page that tells of it.
        metrics (dict[str, float]): Published accuracy in percent; empty if there is none.
        dataset (str): What ``metrics`` were measured on, or ``''``.
        initialises (Path, optional): Config of the detector whose backbone a classifier fills; None
            for a detector.
        notes (str): What else should be known, or ``''``.
    """

    name: str
    config: Path
    url: str
    mirrors: tuple[str, ...]
    manual: bool
    converter: str
    scores: str | None
    sha256: str
    license: str
    source: str
    metrics: dict[str, float]
    dataset: str
    initialises: Path | None
    notes: str

    @property
    def known_hash(self) -> str | None:
        """str, optional: What a download is verified with, as ``fetch_file`` takes it."""
        if self.sha256 == 'unverified':
            return None
        kind, _, digits = self.sha256.rpartition(' ')
        return f'sha256-prefix:{digits}' if kind else f'sha256:{digits}'

    @property
    def verified_how(self) -> str:
        """str: ``'sha256'``, ``'prefix'`` or ``'trusted on first use'``."""
        if self.known_hash is None:
            return 'trusted on first use'
        return 'prefix' if self.known_hash.startswith('sha256-prefix:') else 'sha256'


def read_index(path: str | Path) -> dict[str, WeightsEntry]:
    """Read all entries.

    Args:
        path (str | Path): ``model-index.yml``; what it imports and the configs are looked for from
            its folder.

    Returns:
        dict[str, WeightsEntry]: By name, in the order of the files.

    Raises:
        WeightsError: If a file is missing, or an entry lacks something; it names file and entry.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / 'model-index.yml'
        >>> _ = path.write_text('Import: []')
        >>> read_index(path)
        {}
    """
    path = Path(path)
    entries: dict[str, WeightsEntry] = {}
    for name in _read(path).get('Import') or []:
        file = path.parent / name
        for model in _read(file).get('Models') or []:
            entry = _entry(model, file, path.parent)
            if entry.name in entries:
                raise WeightsError(f'{file}: the name {entry.name!r} is used twice')
            entries[entry.name] = entry
    return entries


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, yaml.YAMLError) as error:
        raise WeightsError(f'cannot read the model index {path}: {error}') from error
    if not isinstance(content, dict):
        raise WeightsError(f'{path} must hold a mapping, but holds a {type(content).__name__}')
    return content


def _entry(model: Mapping[str, Any], file: Path, root: Path) -> WeightsEntry:
    title = f'{file}: {model.get("Name", "an entry without a name")}'
    if missing := [key for key in _NEEDED if not model.get(key)]:
        raise WeightsError(f'{title} lacks {", ".join(missing)}')
    sha256, download = str(model['SHA256']), model['Download']
    if not _HASH.fullmatch(sha256):
        raise WeightsError(
            f'{title}: SHA256 must be 64 hex digits, `prefix` and 8 of them or more, or '
            f'unverified, but is {sha256!r}'
        )
    if download not in _DOWNLOADS:
        raise WeightsError(f'{title}: Download must be one of {_DOWNLOADS}, but is {download!r}')
    result = (model.get('Results') or [{}])[0]
    initialises = model.get('Initialises')
    return WeightsEntry(
        name=model['Name'],
        config=root / model['Config'],
        url=model['Weights'],
        mirrors=tuple(model.get('Mirrors') or ()),
        manual=download == 'manual',
        converter=model['Converter'],
        scores=model.get('Scores'),
        sha256=sha256,
        license=model['License'],
        source=model['Source'],
        metrics=dict(result.get('Metrics') or {}),
        dataset=result.get('Dataset', ''),
        initialises=root / initialises if initialises else None,
        notes=model.get('Notes') or '',
    )
