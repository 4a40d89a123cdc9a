# SPDX-License-Identifier: Apache-2.0
"""Find the checkpoint that a training can go on from."""

from __future__ import annotations

import logging
import os
import os.path as osp
import re
from collections.abc import Iterator

from mmengine.logging import print_log

from mmdet_mobilenext.checkpoints.safe_loading import CheckpointFileError, load_safely
from mmdet_mobilenext.engine.atomic_checkpoint_hook import LAST_CHECKPOINT, write_last_checkpoint

_NUMBERED = re.compile(r'(?P<kind>epoch|iter)_(?P<number>\d+)\.pth')
# what mmengine's Runner.resume reads without asking
_NEEDED = ('meta', 'state_dict', 'message_hub')


def find_resumable(work_dir: str | os.PathLike) -> str | None:
    """Find the newest checkpoint of a run that really loads.

    The one that ``last_checkpoint`` names comes first, then ``epoch_*.pth`` and ``iter_*.pth`` from
    the highest number down. Each is read whole, safely. A broken one is passed over with a warning
    that names it. If ``last_checkpoint`` names another file than the one found, or none, it is
    written anew, so that mmengine's own search finds the same. The work directory may have been
    moved or copied since.

    Args:
        work_dir (str | os.PathLike): Directory of the run; it need not exist.

    Returns:
        str | None: Absolute path of the checkpoint, or None if there is none to go on from.

    Raises:
        CheckpointFileError: If there are checkpoints but none loads, or if ``last_checkpoint``
            names one and there is none at all.
        UnsafeCheckpointError: If the newest is intact but asks for foreign code.

    Example:
        >>> import tempfile
        >>> from mmdet_mobilenext.checkpoints.resume import find_resumable
        >>> find_resumable(tempfile.mkdtemp()) is None
        True
    """
    work_dir = osp.abspath(osp.expanduser(os.fspath(work_dir)))
    named = _read_last_checkpoint(work_dir)
    if named and '://' in named:  # a remote checkpoint: only mmengine can read it
        return named
    pointed = _locate(work_dir, named) if named else None
    numbered = _numbered(work_dir)
    if not numbered and named:  # `out_dir` of the checkpoint hook may be elsewhere
        numbered = _numbered(osp.dirname(osp.abspath(named)))
    if named and not pointed:
        _warn(f'{osp.join(work_dir, LAST_CHECKPOINT)} names {named}, which does not exist')

    broken: dict[str, str] = {}
    found = None
    if pointed and _iteration(pointed, broken) is not None:
        found = pointed
    if not found:
        # a number of epochs cannot be compared with one of iterations, what they contain can
        newest = [next(_loadable(numbered, kind, broken), (-1, None)) for kind in ('epoch', 'iter')]
        found = max(newest)[1] if any(path for _, path in newest) else None
    if found:
        if named != found:
            write_last_checkpoint(work_dir, found)
        return found
    if broken:
        raise CheckpointFileError(
            f'No checkpoint in {work_dir} can be resumed from; {len(broken)} are broken:\n  '
            + '\n  '.join(broken.values())
            + '\nRemove them to begin from the start, or name another work directory.'
        )
    if named:
        raise CheckpointFileError(
            f'{osp.join(work_dir, LAST_CHECKPOINT)} names {named}, but neither that file nor any '
            f'epoch_*.pth or iter_*.pth is there. Bring it back, or remove {LAST_CHECKPOINT} to '
            'begin from the start.'
        )
    return None


def check_resumable(path: str) -> None:
    """Check that a training can go on from a file.

    Args:
        path (str): Checkpoint, or a URL, which is not looked at.

    Raises:
        CheckpointFileError: If it is broken, or holds weights alone.

    Example:
        >>> from mmdet_mobilenext.checkpoints.resume import check_resumable
        >>> check_resumable('https://example.com/epoch_1-01234567.pth')
    """
    broken: dict[str, str] = {}
    if '://' not in path and _iteration(path, broken) is None:
        raise CheckpointFileError(
            f'{broken[path]}. To start a new training from weights, use '
            '--cfg-options load_from=... instead of --resume'
        )


def _warn(message: str) -> None:
    print_log(message, logger='current', level=logging.WARNING)


def _read_last_checkpoint(work_dir: str) -> str:
    """Content of ``last_checkpoint``; empty if there is no such file or a kill emptied it."""
    path = osp.join(work_dir, LAST_CHECKPOINT)
    if not osp.isfile(path):
        return ''
    with open(path, encoding='utf-8', errors='replace') as file:
        named = file.read().strip('\0 \t\r\n')
    if not named:
        _warn(f'{path} is empty; searching for the newest checkpoint instead')
    return named


def _locate(work_dir: str, named: str) -> str | None:
    """The file that ``last_checkpoint`` means: first beside it, as a copied run is its own run."""
    for path in (osp.join(work_dir, osp.basename(named)), osp.abspath(named)):
        if osp.isfile(path):
            return path
    return None


def _numbered(folder: str) -> list[tuple[str, int, str]]:
    """Kind, number and path of the checkpoints in a folder, highest number first."""
    matches = [
        _NUMBERED.fullmatch(name) for name in (os.listdir(folder) if osp.isdir(folder) else ())
    ]
    found = [(m['kind'], int(m['number']), osp.join(folder, m.group())) for m in matches if m]
    return sorted((item for item in found if osp.isfile(item[2])), reverse=True)


def _loadable(
    numbered: list[tuple[str, int, str]], kind: str, broken: dict[str, str]
) -> Iterator[tuple[int, str]]:
    """Iteration and path of those of a kind that load."""
    for its_kind, _, path in numbered:
        if its_kind == kind:
            iteration = _iteration(path, broken)
            if iteration is not None:
                yield iteration, path


def _iteration(path: str, broken: dict[str, str]) -> int | None:
    """Load a checkpoint and return its iteration; if it is broken, warn and note why."""
    if path in broken:
        return None
    try:
        checkpoint = load_safely(path)
        if not isinstance(checkpoint, dict):
            raise CheckpointFileError(f'{path} holds a {type(checkpoint).__name__}, not a dict')
        absent = [key for key in _NEEDED if not isinstance(checkpoint.get(key), dict)]
        meta = {} if 'meta' in absent else checkpoint['meta']
        absent += [f'meta[{key!r}]' for key in ('epoch', 'iter') if key not in meta]
        if absent:
            raise CheckpointFileError(
                f'{path} is not a checkpoint to resume from: it lacks {", ".join(absent)}'
            )
    except (CheckpointFileError, OSError) as error:
        broken[path] = str(error)
        _warn(f'Passed over a checkpoint to resume from: {error}')
        return None
    if 'optimizer' not in checkpoint:
        _warn(f'{path} has no optimizer state; momentum starts anew')
    return int(meta['iter'])
