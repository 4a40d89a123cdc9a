# SPDX-License-Identifier: Apache-2.0
"""A downloader for pooch that goes on where an earlier download stopped."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import requests
from tqdm import tqdm

from .errors import FetchError

__all__ = ['PartialFile', 'ResumingDownloader']

TIMEOUT = (10, 60)  # seconds to connect, and without a byte
ATTEMPTS = 3  # in a row without a byte more than before
PASSING = (408, 429)  # answers below 500 that another attempt may change
PAUSE = 1.0  # seconds before the second attempt; longer before further ones


class PartialFile:
    """The bytes that there are of a file, and what its server said of it.

    Args:
        path (Path): Where the bytes are; ``{path}.json`` has the rest.

    Example:
        >>> import tempfile
        >>> PartialFile(Path(tempfile.mkdtemp()) / '.a.part').size
        0
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes = path.with_name(f'{path.name}.json')

    @property
    def size(self) -> int:
        """int: Bytes that there are."""
        return self.path.stat().st_size if self.path.exists() else 0

    def read_notes(self) -> dict[str, Any]:
        """What is known of the file: ``url``, ``total`` (bytes) and ``validator``; may be empty."""
        try:
            notes = json.loads(self.notes.read_text(encoding='utf-8'))
        except (OSError, ValueError):
            return {}
        return notes if isinstance(notes, dict) else {}

    def begin(self, **notes: Any) -> None:
        """Forget the bytes that there are, and note what the new ones are of."""
        self.remove()
        self.notes.write_text(json.dumps(notes), encoding='utf-8')

    def keep_if(self, same_url: str | None) -> None:
        """Remove bytes without notes, and those of another address if one is given."""
        notes = self.read_notes()
        if not notes or (same_url is not None and notes.get('url') != same_url):
            self.remove()

    def remove(self) -> None:
        """Remove bytes and notes."""
        self.path.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)


class ResumingDownloader:
    """Fetch the rest of a partial file, and hand it over whole.

    A connection that breaks is taken up again, as long as something comes; a server that knows no
    ranges, or has another file by now, sends all of it again.

    Args:
        partial (PartialFile): What there is.
        title (str): Shown beside the bar.
        progress (bool): Show a bar on stderr.
        unverified (bool): No hash is known. Refuse an answer of which nobody can tell whether it
            is whole, and go on only where the server tells one version of the file from another.
            Defaults to False.
    """

    def __init__(
        self, partial: PartialFile, title: str, progress: bool, unverified: bool = False
    ) -> None:
        self.partial, self.title, self.progress = partial, title, progress
        self.unverified = unverified
        self.resumed_from = 0

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> None:
        """Download, as pooch asks for it; the partial file stays until the caller removes it.

        Args:
            url (str): Address.
            output_file (str): File to make.
            pooch (Pooch): Not used.
            check_only (bool): Not supported. Defaults to False.

        Raises:
            FetchError: If the server answers with an error, or its answers end too early again
                and again.
        """
        if check_only:
            raise NotImplementedError('fetch_file asks for no availability')
        self.resumed_from = self.partial.size
        stalled, most = 0, self.resumed_from
        while True:
            try:
                self._go_on(url)
                break
            except (requests.RequestException, _TooShort) as error:
                if isinstance(error, requests.HTTPError) and _is_final(error):
                    raise FetchError(_in_words(error)) from None
                # more than ever before: a server that starts anew each time is no progress
                stalled = 0 if self.partial.size > most else stalled + 1
                most = max(most, self.partial.size)
                if stalled >= ATTEMPTS:
                    size = self.partial.size
                    kept = f'; {size:,} bytes are kept for the next time' if size else ''
                    raise FetchError(f'{_in_words(error)} ({stalled} attempts{kept})') from None
                if stalled:
                    time.sleep(PAUSE * 2 ** (stalled - 1))
        Path(output_file).unlink(missing_ok=True)
        try:  # a second name, so that a kill while the bytes are compared does not lose them
            os.link(self.partial.path, output_file)
        except OSError:  # not on every file system
            shutil.move(self.partial.path, output_file)

    def _go_on(self, url: str) -> None:
        notes, start = self.partial.read_notes(), self.partial.size
        if start and start == notes.get('total'):
            return
        validator = notes.get('validator') if notes.get('url') == url else None
        if start and self.unverified and not validator:
            self.partial.remove()
            start = 0
        headers = {'Accept-Encoding': 'identity'}  # ranges are of the bytes as stored
        if start:
            headers['Range'] = f'bytes={start}-'
            if validator:
                headers['If-Range'] = validator
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == 416:  # nothing begins there: it is another file
                self.partial.remove()
                raise _TooShort(f'the server has fewer than the {start:,} bytes that are here')
            response.raise_for_status()
            if response.status_code not in (200, 203, 206):
                raise FetchError(f'{response.status_code} {response.reason}, which is no file')
            total = _total(response)
            chunked = 'chunked' in response.headers.get('Transfer-Encoding', '')
            if self.unverified and total[1] is None and not chunked:
                raise FetchError(
                    'the server does not say how long the file is, and its hash is not known: '
                    'nobody could tell a part of it from the whole'
                )
            goes_on = response.status_code == 206 and total[0] == start
            if goes_on and None not in (total[1], notes.get('total')):
                goes_on = total[1] == notes['total']
            if goes_on and validator:  # not every server heeds If-Range
                goes_on = _validator(response) in (None, validator)
            if response.status_code == 206 and not goes_on:
                self.partial.remove()
                raise _TooShort(
                    f'the server offers {response.headers.get("Content-Range")!r} of another size '
                    f'or version: it does not continue the {start:,} bytes that are here'
                )
            if not goes_on:
                start = self.resumed_from = 0
                self.partial.begin(url=url, total=total[1], validator=_validator(response))
            self._append(response, start, total[1])

    def _append(self, response: requests.Response, start: int, total: int | None) -> None:
        bar = tqdm(
            desc=self.title,
            initial=start,
            total=total,
            unit='B',
            unit_scale=True,
            disable=not self.progress,
            # in a log one line a minute is enough
            mininterval=0.1 if sys.stderr.isatty() else 60,
        )
        with bar, open(self.partial.path, 'ab') as file:
            for chunk in response.iter_content(1 << 16):
                file.write(chunk)
                bar.update(len(chunk))
        size = self.partial.size
        if total is not None and size != total:
            if size > total:
                self.partial.remove()
            raise _TooShort(f'the answer ended after {size:,} of {total:,} bytes')
        if self.unverified and not size:
            raise FetchError('the file is empty')


class _TooShort(Exception):
    """An answer that is not what its header says."""


def _total(response: requests.Response) -> tuple[int | None, int | None]:
    """First byte and size of the whole file, as the server says it; None if it does not."""
    if response.status_code == 206:
        match = re.fullmatch(
            r'bytes (\d+)-\d+/(\d+|\*)', response.headers.get('Content-Range', '').strip()
        )
        if not match:
            return None, None
        return int(match[1]), None if match[2] == '*' else int(match[2])
    if response.headers.get('Content-Encoding', 'identity') != 'identity':
        return 0, None  # the length is of what is sent, not of the file
    length = response.headers.get('Content-Length', '')
    return 0, int(length) if length.isdigit() else None


def _validator(response: requests.Response) -> str | None:
    """What tells this version of the file from another: a strong ETag, or its date."""
    etag = response.headers.get('ETag', '')
    if etag.startswith('"'):
        return etag
    return response.headers.get('Last-Modified')


def _is_final(error: requests.HTTPError) -> bool:
    status = error.response.status_code
    return status < 500 and status not in PASSING


def _in_words(error: Exception) -> str:
    if isinstance(error, requests.HTTPError):
        return f'{error.response.status_code} {error.response.reason}'
    if isinstance(error, requests.Timeout):
        return f'no answer within {TIMEOUT[0]} seconds, or {TIMEOUT[1]} seconds without a byte'
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return 'the answer broke off'
    if isinstance(error, requests.ConnectionError):
        reason = getattr(error.args[0], 'reason', error) if error.args else error
        return f'no connection: {reason}'
    return str(error)
