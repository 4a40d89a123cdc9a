# SPDX-License-Identifier: Apache-2.0
"""Fetch one file, verified before it is in its place.

pooch downloads, hashes and renames. What it lacks is here and in :mod:`.resuming`: several
addresses for one file, and a download that goes on where a killed one stopped.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pooch
from filelock import FileLock
from tqdm import tqdm

from mmdet_mobilenext.work_folder import work_folder

from .errors import FetchError
from .resuming import PartialFile, ResumingDownloader

__all__ = ['FetchedFile', 'fetch_file']

_HASHES = {'md5': 32, 'sha256': 64}


@dataclass(frozen=True)
class FetchedFile:
    """A file that is there and verified.

    Attributes:
        path (Path): The file.
        sha256 (str): Its SHA-256, 64 hexadecimal digits.
        url (str | None): Where it came from; None if it was there already.
        resumed_from (int): Bytes that an earlier download had left.
    """

    path: Path
    sha256: str
    url: str | None
    resumed_from: int = 0


def fetch_file(
    urls: Sequence[str],
    dest: str | Path,
    known_hash: str | None,
    *,
    title: str | None = None,
    progress: bool = True,
) -> FetchedFile:
    """Fetch a file from the first of its addresses that has it.

    A download that is interrupted leaves ``.{name}.part`` beside ``dest``; the next call goes on
    from there, also at another address if the hash is known. Of two calls for the same file at
    the same time the second waits and finds the file.

    Args:
        urls (Sequence[str]): Addresses, http or https, tried in turn.
        dest (str | Path): The file; its folder is made.
        known_hash (str, optional): ``'sha256:{64 digits}'``, ``'md5:{32 digits}'`` or
            ``'sha256-prefix:{8 to 64 digits}'``. None takes the file as it comes: the caller then
            keeps the hash that is returned.
        title (str, optional): What it is, for messages. Defaults to the file's name.
        progress (bool): Show a bar on stderr, and at once each address that failed. Defaults to
            True.

    Returns:
        FetchedFile: The file at ``dest``. If it was there with that hash, nothing was asked of
        any server.

    Raises:
        FetchError: If no address gives the right bytes, or another file is at ``dest``.
        ValueError: If an address or the hash is not of the forms above.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / 'a.txt'
        >>> _ = path.write_bytes(b'here already')
        >>> fetch_file(['https://example.org/a.txt'], path, None).url is None
        True
    """
    dest = Path(dest)
    title = title or dest.name
    algorithm, digits = _parse_hash(known_hash)
    if not urls:
        raise ValueError(f'{title}: no address to fetch it from')
    for url in urls:
        if urlsplit(url).scheme not in ('http', 'https') or not urlsplit(url).netloc:
            raise ValueError(
                f'{title}: an address must begin with http:// or https://, not {url!r}'
            )
    if dest.exists():  # it was put there in one step
        return FetchedFile(dest, _check_existing(dest, algorithm, digits), None)
    dest.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(dest.with_name(f'.{dest.name}.lock')):
        if dest.exists():  # by another call, until now
            return FetchedFile(dest, _check_existing(dest, algorithm, digits), None)
        return _fetch(list(urls), dest, algorithm, digits, title, progress)


def _fetch(
    urls: list[str], dest: Path, algorithm: str, digits: str, title: str, progress: bool
) -> FetchedFile:
    partial = PartialFile(dest.with_name(f'.{dest.name}.part'))
    failures = []

    def fail(url: str, error: Exception) -> None:
        failures.append(f'{url}: {error}')
        if progress:
            tqdm.write(f'{title}: {failures[-1]}', file=sys.stderr)

    # pooch compares whole hashes; the beginning of one is compared below
    whole = f'{algorithm}:{digits}' if algorithm in _HASHES else None
    for url in urls:
        # bytes of another address fit together only if a hash says so in the end
        partial.keep_if(same_url=url if not digits else None)
        for _ in range(2):
            start = partial.size
            downloader = ResumingDownloader(partial, title, progress, unverified=not digits)
            try:
                with work_folder(dest) as work:
                    pooch.get_logger().setLevel('WARNING')
                    pooch.retrieve(url, whole, dest.name, work, downloader=downloader)
                    sha256 = _compare(work / dest.name, algorithm, digits)
                    partial.remove()
                    os.replace(work / dest.name, dest)
            except ValueError as error:  # the bytes are other ones
                partial.remove()
                fail(url, error)
                if start:  # perhaps only those that were there before: once more from zero
                    continue
            except OSError as error:  # what requests raises is one
                fail(url, error)
            else:
                return FetchedFile(dest, sha256, url, downloader.resumed_from)
            break
    raise FetchError(
        f'{title} could not be fetched to {dest}:\n' + '\n'.join(f'  {line}' for line in failures)
    )


def _parse_hash(known_hash: str | None) -> tuple[str, str]:
    """Algorithm and lower-case digits; both empty for None."""
    if known_hash is None:
        return '', ''
    algorithm, _, digits = known_hash.lower().partition(':')
    lengths = range(8, 65) if algorithm == 'sha256-prefix' else [_HASHES.get(algorithm)]
    if len(digits) not in lengths or not re.fullmatch('[0-9a-f]+', digits):
        raise ValueError(
            'known_hash must be sha256: and 64 hexadecimal digits, md5: and 32, sha256-prefix: '
            f'and 8 to 64, or None, but is {known_hash!r}'
        )
    return algorithm, digits


def _compare(path: Path, algorithm: str, digits: str) -> str:
    """Hash a file and compare; ValueError if it differs. Returns the SHA-256."""
    with open(path, 'rb') as file:
        hashes = {'sha256': hashlib.sha256()}
        if algorithm == 'md5':
            hashes['md5'] = hashlib.md5(usedforsecurity=False)
        while chunk := file.read(1 << 20):
            for value in hashes.values():
                value.update(chunk)
    found = hashes['md5' if algorithm == 'md5' else 'sha256'].hexdigest()
    if not found.startswith(digits):
        name = 'md5' if algorithm == 'md5' else 'SHA-256'
        begin = ' begin with' if algorithm == 'sha256-prefix' else ' be'
        raise ValueError(f'{name} is {found}, but must{begin} {digits}')
    return hashes['sha256'].hexdigest()


def _check_existing(dest: Path, algorithm: str, digits: str) -> str:
    try:
        return _compare(dest, algorithm, digits)
    except ValueError as error:
        raise FetchError(
            f'{dest} is there, but it is another file or damaged ({error}): remove it to have it '
            'fetched again'
        ) from None
