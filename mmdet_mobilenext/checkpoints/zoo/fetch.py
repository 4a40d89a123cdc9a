# SPDX-License-Identifier: Apache-2.0
"""Fetch published weights, verify them and convert them to what the configs load."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from shlex import quote
from urllib.parse import unquote, urlsplit

from filelock import FileLock
from mmengine.config import Config

from mmdet_mobilenext.checkpoints.convert import convert_checkpoint
from mmdet_mobilenext.checkpoints.safe_loading import (
    CheckpointFileError,
    UnsafeCheckpointError,
    load_safely,
)
from mmdet_mobilenext.checksum import sha256_of
from mmdet_mobilenext.work_folder import work_folder

from .errors import WeightsError
from .index import WeightsEntry
from .networks import check_fits
from .records import TRUSTED, check_trust, read_record, read_trusted, remember, write_json

__all__ = ['check_place', 'fetch_weights', 'find_entry', 'how_to_use']


def find_entry(index: Mapping[str, WeightsEntry], name: str) -> WeightsEntry:
    """Look a name up.

    Args:
        index (Mapping[str, WeightsEntry]): See :func:`read_index`.
        name (str): Name of an entry.

    Returns:
        WeightsEntry: The entry.

    Raises:
        WeightsError: If there is none; it lists those there are.
    """
    if name not in index:
        raise WeightsError(f'no weights are called {name!r}; there are {", ".join(index)}')
    return index[name]


def check_place(
    index: Mapping[str, WeightsEntry], entry: WeightsEntry, save_as: str | None
) -> None:
    """Refuse the name of weights of another network, whose config would look for them there.

    Args:
        index (Mapping[str, WeightsEntry]): See :func:`read_index`.
        entry (WeightsEntry): What is fetched.
        save_as (str, optional): See :func:`fetch_weights`.

    Raises:
        WeightsError: If they cannot take that place.
    """
    place = index.get((save_as or entry.name).removesuffix('.pth'), entry)
    wanted, ours = (e.initialises or e.config for e in (place, entry))
    if wanted != ours:
        raise WeightsError(
            f'{entry.name} cannot be saved as {place.name}: those are weights for '
            f'{_short(wanted)}, these for {_short(ours)}. Choose another name'
        )


def fetch_weights(
    entry: WeightsEntry,
    folder: str | Path = 'weights',
    file: str | Path | None = None,
    save_as: str | None = None,
    trust_new: bool = False,
    force: bool = False,
    say: Callable[[str], None] = print,
) -> Path:
    """Get weights, or find out that they are there.

    The file is downloaded (an interrupted download goes on), its SHA-256 is compared with the
    published one, or with that of the first time; it is converted key by key and put in its place
    in one step, with a record beside it: ``NAME.json``.

    Args:
        entry (WeightsEntry): What to fetch.
        folder (str | Path): Where to. Defaults to ``'weights'``.
        file (str | Path, optional): A copy of the published file that is here already. Defaults to
            None, download it.
        save_as (str, optional): Name instead of the entry's: that of another entry, in whose place
            these weights are used. Defaults to None.
        trust_new (bool): Accept another file than the first time. Defaults to False.
        force (bool): Replace weights of another origin. Defaults to False.
        say (Callable): Told what is done. Defaults to ``print``.

    Returns:
        Path: The converted weights, ``FOLDER/NAME.pth``.

    Raises:
        WeightsError: If a person has to download it, the file is another one than it should be, or
            other weights are in its place.
        CheckpointKeyError: If the file does not fill the network.
        FileNotFoundError: If there is no ``file``.
    """
    folder = Path(folder)
    name = _checked_name(save_as or entry.name)
    target, record_path = folder / f'{name}.pth', folder / f'{name}.json'
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / '.lock'):
        record = read_record(record_path)
        if file is None and _is_there(entry, target, record, trust_new):
            say(f'{target} is there already ({record["verified"]})')
            return target
        with _source(entry, folder, file, name) as (source, origin):
            sha256, size = sha256_of(source), source.stat().st_size
            _compare_with_published(entry, source, sha256)
            if entry.known_hash is None:
                check_trust(folder, entry.name, sha256, origin, trust_new)
            # also if it is there: whoever fetches again may have a damaged one
            ours = record.get('entry') == entry.name
            if not ours and not force and not _is_conversion_of(target, entry.converter, sha256):
                _refuse_other(target)
            _convert(entry, source, target)
        now = datetime.now(timezone.utc).strftime('%Y-%m-%d %H:%M:%S UTC')
        if entry.known_hash is None:
            remember(folder, entry.name, sha256, origin, now, size)
        record = dict(
            entry=entry.name,
            origin=origin,
            converter=entry.converter,
            license=entry.license,
            verified=entry.verified_how,
            source_sha256=sha256,
            source_bytes=size,
            sha256=sha256_of(target),
            bytes=target.stat().st_size,
            date=now,
        )
        write_json(record, record_path)
    say(f'{target} is ready: {entry.name}, {_how(entry, sha256)}, from {origin}')
    return target


def how_to_use(entry: WeightsEntry, path: str | Path) -> str:
    """Say what to do with fetched weights.

    Args:
        entry (WeightsEntry): What they are.
        path (str | Path): Where they are.

    Returns:
        str: For people.
    """
    path = Path(path)
    if entry.initialises is None:
        return f'  test them: python tools/test.py {_short(entry.config)} {path}'
    config = _short(entry.initialises)
    wanted = Path(Config.fromfile(entry.initialises).model.backbone.init_cfg.checkpoint)
    if path.resolve() == wanted.resolve():
        return f'  {config} and its variants start from them now'
    if path.name == wanted.name:
        folder = quote(str(path.parent))
        return f'  {config} and its variants start from them with WEIGHTS_ROOT={folder}'
    return (
        f'  to train with them: --cfg-options model.backbone.init_cfg.checkpoint={path}\n'
        f'  or fetch them with --as {wanted.stem}, in place of the weights that {config} looks for'
    )


def _short(config: Path) -> str:
    return '/'.join(config.parts[-2:])


def _is_there(entry: WeightsEntry, target: Path, record: Mapping, trust_new: bool) -> bool:
    if trust_new or not target.is_file() or record.get('entry') != entry.name:
        return False
    source = str(record.get('source_sha256'))
    if entry.known_hash is None:
        first = read_trusted(target.parent).get(entry.name, {})
        right = source == first.get('sha256')
    else:
        right = source.startswith(entry.known_hash.rpartition(':')[2])
    return right and sha256_of(target) == record.get('sha256')


def _checked_name(name: str) -> str:
    """A name of weights is that of a file in their folder, and of no other file there."""
    if Path(name).name != name or name.startswith('.') or f'{name}.json' == TRUSTED:
        raise WeightsError(f'{name!r} cannot be the name of weights: give a plain file name')
    return name.removesuffix('.pth')


@contextmanager
def _source(
    entry: WeightsEntry, folder: Path, file: str | Path | None, name: str
) -> Iterator[tuple[Path, str]]:
    """The published file and where it is from; what was downloaded is removed in the end.

    Also if it is refused: or it would be taken for a finished download the next time.
    """
    if file is not None:
        source = Path(file).expanduser()
        if not source.is_file():
            raise FileNotFoundError(f'no file {source} (--file, seen from {os.getcwd()})')
        yield source, str(source.resolve())
        return
    path, url = _download(entry, folder, name)
    try:
        yield path, url
    finally:
        path.unlink(missing_ok=True)


def _download(entry: WeightsEntry, folder: Path, name: str) -> tuple[Path, str]:
    command = f'python tools/weights.py fetch {entry.name} --dest {quote(str(folder))} --file PATH'
    if name != entry.name:
        command += f' --as {name}'
    if entry.manual:
        raise WeightsError(
            f'{entry.name} has to be downloaded by hand: open\n  {entry.url}\nin a browser (it is '
            f'linked to by {entry.source}), save the file, and give its path:\n  {command}'
        )
    from mmdet_mobilenext.fetching import fetch_file

    basename = unquote(Path(urlsplit(entry.url).path).name)
    place = folder / 'downloads' / f'{entry.name}-{basename}'
    urls = [entry.url, *entry.mirrors]
    try:
        found = fetch_file(urls, place, entry.known_hash, title=entry.name)
    except Exception as error:  # whatever stands between here and the file
        listed = '\n  '.join(urls)
        raise WeightsError(
            f'{entry.name} cannot be downloaded: {type(error).__name__}: {error}\nWithout a '
            f'network here, get one of\n  {listed}\non another machine, copy it to this one, and '
            f'give its path:\n  {command}'
        ) from error
    return Path(found.path), found.url


def _compare_with_published(entry: WeightsEntry, source: Path, sha256: str) -> None:
    digits = (entry.known_hash or '').rpartition(':')[2]
    if not sha256.startswith(digits):
        raise WeightsError(
            f'{source} is not the published file of {entry.name}: its SHA-256 is {sha256}, the '
            f'published one {"begins with " if len(digits) < 64 else "is "}{digits}. It is '
            f'damaged or another file: get it again from {entry.url}'
        )


def _is_conversion_of(target: Path, converter: str, sha256: str) -> bool:
    """Whether a file says that it was converted from this source."""
    if not target.is_file():
        return False
    try:
        checkpoint = load_safely(str(target))
    except (CheckpointFileError, UnsafeCheckpointError):
        return False
    meta = checkpoint.get('meta') or {} if isinstance(checkpoint, dict) else {}
    return (meta.get('source'), meta.get('source_sha256')) == (converter, sha256)


def _refuse_other(target: Path) -> None:
    if target.exists():
        raise WeightsError(
            f'{target} exists and is of another origin or damaged (see {target.stem}.json, if '
            'there is one): choose another name with --as, or pass --force to replace it'
        )


def _convert(entry: WeightsEntry, source: Path, target: Path) -> None:
    """Convert beside the target, and rename what fits the network."""
    with work_folder(target) as work:
        work.mkdir()
        converted = work / target.name
        convert_checkpoint(source, converted, entry.converter, scores=entry.scores)
        check_fits(entry, converted)
        os.replace(converted, target)


def _how(entry: WeightsEntry, sha256: str) -> str:
    if entry.known_hash is None:
        return f'trusted on first use (sha256 {sha256})'
    return f'sha256 as published ({entry.verified_how})'
