# SPDX-License-Identifier: Apache-2.0
"""Verify what lies in the folder of the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmdet_mobilenext.checkpoints.safe_loading import load_safely
from mmdet_mobilenext.checksum import sha256_of

from .errors import WeightsError
from .index import WeightsEntry
from .networks import check_fits
from .records import TRUSTED, read_record, read_trusted

__all__ = ['Finding', 'verify_weights']


@dataclass(frozen=True)
class Finding:
    """What was found out about one file.

    Attributes:
        name (str): Name of the file without ``.pth``.
        problem (str): What is wrong and what to do, or ``''``.
        note (str): What is right.
    """

    name: str
    problem: str = ''
    note: str = ''


def verify_weights(
    index: Mapping[str, WeightsEntry], folder: str | Path, names: Sequence[str] = ()
) -> list[Finding]:
    """Hash each file again, and compare it with its record, the index and the network.

    Args:
        index (Mapping[str, WeightsEntry]): See :func:`read_index`.
        folder (str | Path): Folder of the weights.
        names (Sequence[str]): Files to look at, without ``.pth``. Defaults to all.

    Returns:
        list[Finding]: One for each file.
    """
    folder = Path(folder)
    if not names:
        found = {p.stem for p in folder.glob('*.pth')}
        found |= {p.stem for p in folder.glob('*.json') if p.name != TRUSTED}
        names = sorted(found)
    findings = []
    for name in names:
        try:
            findings.append(Finding(name, note=_verify(index, folder, name)))
        except (OSError, RuntimeError, ValueError) as error:
            findings.append(Finding(name, problem=str(error)))
    return findings


def _verify(index: Mapping[str, WeightsEntry], folder: Path, name: str) -> str:
    path = folder / f'{name}.pth'
    record = read_record(folder / f'{name}.json')
    if not path.is_file():
        if not record and name not in index:
            raise WeightsError(f'there is no {path}, and the index knows no such weights')
        way = record.get('entry', name)
        way += f' --as {name}' if way != name else ''
        raise WeightsError(f'{path} is missing: python tools/weights.py fetch {way}')
    if not record:
        if name not in index:
            load_safely(str(path))
            return 'not of this tool: nothing to compare it with, but it can be read'
        keys = check_fits(index[name], path)
        return f'no record of its origin, since it was not fetched by this tool; {keys} keys fit'
    if (sha256 := sha256_of(path)) != record.get('sha256'):
        raise WeightsError(
            f'{path} is not what was written: sha256 {sha256}, recorded {record.get("sha256")}. '
            'Remove it and fetch it again'
        )
    entry = index.get(record['entry'])
    if entry is None:
        raise WeightsError(f'{name}.json names {record.get("entry")!r}, which the index has not')
    source = str(record.get('source_sha256'))
    digits = (entry.known_hash or '').rpartition(':')[2]
    if not source.startswith(digits):
        raise WeightsError(
            f'{path} was made of a file with the sha256 {source}, but the index says {digits} for '
            f'{entry.name}: fetch it again'
        )
    if entry.known_hash is None:
        first = read_trusted(folder).get(entry.name, {}).get('sha256')
        if first != source:
            raise WeightsError(
                f'{path} was made of a file with the sha256 {source}, but {TRUSTED} trusts {first} '
                f'for {entry.name}: fetch it again'
            )
    # under the name of another entry the weights take the place of that one
    keys = check_fits(index.get(name, entry), path)
    return f'{entry.name}, {record["verified"]}, {keys} keys fit'
