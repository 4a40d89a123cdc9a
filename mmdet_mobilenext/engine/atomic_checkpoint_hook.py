# SPDX-License-Identifier: Apache-2.0
"""Write checkpoints so that a kill or a full disk at any moment leaves a good one.

mmengine writes a checkpoint in place and deletes the outdated one *before* that, so with
``max_keep_ckpts=1`` a kill in between leaves nothing to resume from.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import os.path as osp
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process, master_only
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import CheckpointLoader, Runner

from mmdet_mobilenext.processes import is_other_process

from .non_finite_loss_hook import NonFiniteLossError

LAST_CHECKPOINT = 'last_checkpoint'
"""File in the work directory that holds the path of the newest checkpoint."""

_TEMPORARY = re.compile(r'\..+\.(?P<pid>\d+)-[0-9a-f]{32}\.tmp')


@register_backend('atomic_local', force=True)
class AtomicLocalBackend(LocalBackend):
    """mmengine's backend of local files, which writes each file whole or not at all.

    A file is written beside its place, forced to disk and then renamed. If that fails the file
    that was there before is untouched and no temporary file is left; a killed process leaves one,
    which :func:`remove_leftovers` removes.

    Example:
        >>> import os, tempfile
        >>> from mmengine.fileio import get_file_backend
        >>> from mmdet_mobilenext.engine.atomic_checkpoint_hook import AtomicLocalBackend
        >>> folder = tempfile.mkdtemp()
        >>> backend = get_file_backend(backend_args=dict(backend='atomic_local'))
        >>> backend.put(b'content', os.path.join(folder, 'file'))
        >>> os.listdir(folder)
        ['file']
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes.

        Args:
            obj (bytes): Content.
            filepath (str | Path): Where to; missing directories are made.

        Raises:
            OSError: If it cannot be written; it names the file and the number of bytes.
        """
        path = os.fspath(filepath)
        folder, name = osp.split(osp.abspath(path))
        os.makedirs(folder, exist_ok=True)
        temporary = osp.join(folder, f'.{name}.{os.getpid()}-{uuid.uuid4().hex}.tmp')
        try:
            with open(temporary, 'xb') as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException as error:
            if osp.exists(temporary):
                os.remove(temporary)
            if isinstance(error, OSError):
                reason = f'cannot write {len(obj)} bytes ({error.strerror or error})'
                raise OSError(error.errno, reason, path) from error
            raise
        if os.name == 'posix':  # the rename too has to survive a power failure
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text.

        Args:
            obj (str): Content.
            filepath (str | Path): Where to; missing directories are made.
            encoding (str): Encoding of the file. Defaults to ``'utf-8'``.

        Raises:
            OSError: If it cannot be written.
        """
        self.put(obj.encode(encoding), filepath)


def refuse_non_finite(model: torch.nn.Module) -> None:
    """Raise rather than replace good weights by broken ones.

    The loss of an iteration is computed before its update, so an update that breaks the weights
    shows in the loss only one iteration later.

    Args:
        model (nn.Module): The model that is about to be saved.

    Raises:
        NonFiniteLossError: If a weight is NaN or infinite.

    Example:
        >>> refuse_non_finite(torch.nn.Linear(2, 3))
    """
    broken = [
        name
        for name, value in model.state_dict().items()
        if value.is_floating_point() and not torch.isfinite(value).all()
    ]
    if broken:
        raise NonFiniteLossError(
            f'{len(broken)} weights are not finite after the last update, {broken[0]} among them: '
            'no checkpoint was written, the one before is kept. Lower the learning rate or '
            'lengthen the warm-up'
        )


def write_last_checkpoint(work_dir: str, checkpoint: str) -> None:
    """Record the newest checkpoint for ``--resume``, atomically.

    The path is absolute, because mmengine's own reader takes it as it stands, relative to the
    current directory. :func:`mmdet_mobilenext.checkpoints.resume.find_resumable` also finds the
    file if the work directory was moved.

    Args:
        work_dir (str): Directory of the run.
        checkpoint (str): Path or URI of the checkpoint.

    Example:
        >>> import os, tempfile
        >>> from mmdet_mobilenext.engine.atomic_checkpoint_hook import write_last_checkpoint
        >>> folder = tempfile.mkdtemp()
        >>> write_last_checkpoint(folder, os.path.join(folder, 'epoch_1.pth'))
        >>> os.listdir(folder)
        ['last_checkpoint']
    """
    if '://' not in checkpoint:
        checkpoint = osp.abspath(checkpoint)
    AtomicLocalBackend().put_text(checkpoint, osp.join(work_dir, LAST_CHECKPOINT))


def remove_leftovers(folder: str) -> list[str]:
    """Remove temporary files of writes that were killed.

    A file of another process that is still alive is left alone.

    Args:
        folder (str): A local directory; it need not exist.

    Returns:
        list[str]: Paths that were removed.

    Example:
        >>> import tempfile
        >>> from mmdet_mobilenext.engine.atomic_checkpoint_hook import remove_leftovers
        >>> remove_leftovers(tempfile.mkdtemp())
        []
    """
    removed = []
    for name in sorted(os.listdir(folder)) if osp.isdir(folder) else []:
        match = _TEMPORARY.fullmatch(name)
        if match and not is_other_process(int(match['pid'])):
            os.remove(osp.join(folder, name))
            removed.append(osp.join(folder, name))
    return removed


class _RemoveLater:
    """A file backend that notes what it is told to remove."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.removals: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, filepath: str) -> None:
        self.removals.append(filepath)

    rmtree = remove


@HOOKS.register_module(force=True)
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, safe against kills.

    Local checkpoints and ``last_checkpoint`` are written by :class:`AtomicLocalBackend`, and
    outdated checkpoints and the previous best one are removed only when the new one is in place.
    So there is room needed for one checkpoint more than ``max_keep_ckpts``. Temporary files of an
    earlier run that was killed are removed when training begins. Published checkpoints
    (``published_keys``) have in their name the SHA-256 of the file, not of another pickle of it.

    Args:
        out_dir (str | Path | None): As in ``CheckpointHook``. Defaults to None.
        file_client_args (dict | None): As in ``CheckpointHook``. Defaults to None.
        backend_args (dict | None): As in ``CheckpointHook``; None means ``atomic_local`` unless
            ``out_dir`` is a URI. Defaults to None.
        **kwargs: Any other argument of ``CheckpointHook``.

    Example:
        >>> from mmdet_mobilenext.engine.atomic_checkpoint_hook import AtomicCheckpointHook
        >>> default_hooks = dict(checkpoint=dict(
        ...     type='AtomicCheckpointHook', interval=1, max_keep_ckpts=3, save_best='auto'))
        >>> AtomicCheckpointHook(interval=1).backend_args
        {'backend': 'atomic_local'}
    """

    def __init__(
        self,
        *args: Any,
        out_dir: str | Path | None = None,
        file_client_args: dict | None = None,
        backend_args: dict | None = None,
        **kwargs: Any,
    ) -> None:
        # a Path would get into the message hub, so into the checkpoint, which then is no plain data
        out_dir = None if out_dir is None else os.fspath(out_dir)
        self._local = file_client_args is None and '://' not in (out_dir or '')
        if backend_args is None and self._local:
            backend_args = dict(backend='atomic_local')
        super().__init__(
            *args,
            out_dir=out_dir,
            file_client_args=file_client_args,
            backend_args=backend_args,
            **kwargs,
        )

    def before_train(self, runner: Runner) -> None:
        """Prepare as ``CheckpointHook`` does, and clean up after a run that was killed.

        Args:
            runner (Runner): The runner that trains.
        """
        super().before_train(runner)
        if is_main_process():
            folders = {runner.work_dir, *([self.out_dir] if self._local else [])}
            for path in [path for folder in folders for path in remove_leftovers(folder)]:
                runner.logger.info(f'Removed {path}, left by a write that was killed')
        if getattr(self, 'best_ckpt_path', None):
            self.best_ckpt_path = self._after_move(self.best_ckpt_path)
        for key, path in getattr(self, 'best_ckpt_path_dict', {}).items():
            self.best_ckpt_path_dict[key] = self._after_move(path) if path else path

    def _after_move(self, path: str) -> str:
        """The same file in ``out_dir``, if the run was resumed in another place."""
        here = self.file_backend.join_path(self.out_dir, osp.basename(path))
        moved = not self.file_backend.exists(path) and self.file_backend.exists(here)
        return here if moved else path

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """Save first, then point to it, then remove what is outdated."""
        refuse_non_finite(runner.model)
        outdated = []
        # called twice for one step if the validation after it finds a new best
        if self.max_keep_ckpts > 0 and step not in list(self.keep_ckpt_ids)[-1:]:
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                outdated.append(self.keep_ckpt_ids.popleft())
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        filename = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, filename)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            filename,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if not is_main_process():
            return
        write_last_checkpoint(runner.work_dir, self.last_ckpt)
        for old in outdated:
            path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(old))
            self._remove_unless_current(path)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        """Let ``CheckpointHook`` decide and save; remove the previous best after that."""
        refuse_non_finite(runner.model)
        with self._removing_later():
            super()._save_best_checkpoint(runner, metrics)

    @contextmanager
    def _removing_later(self) -> Iterator[None]:
        """Hold back removals until the block has ended; if it fails nothing is removed."""
        backend = self.file_backend
        later = self.file_backend = _RemoveLater(backend)
        try:
            yield
        finally:
            self.file_backend = backend
        for path in later.removals:
            self._remove_unless_current(path)

    def _remove_unless_current(self, path: str) -> None:
        """Remove a file, or a directory of DeepSpeed, unless it has just been written."""
        best = [getattr(self, 'best_ckpt_path', None)]
        best += getattr(self, 'best_ckpt_path_dict', {}).values()
        if path == self.last_ckpt or path in best:
            return
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
        elif self.file_backend.isdir(path):
            self.file_backend.rmtree(path)

    @master_only
    def _publish_model(self, runner: Runner, ckpt_path: str) -> None:
        """Write a copy with ``published_keys`` only, named by the SHA-256 of the file."""
        checkpoint = CheckpointLoader.load_checkpoint(ckpt_path, map_location='cpu')
        kept = {key: value for key, value in checkpoint.items() if key in self.published_keys}
        buffer = io.BytesIO()
        torch.save(kept, buffer)
        content = buffer.getvalue()
        path = f'{osp.splitext(ckpt_path)[0]}-{hashlib.sha256(content).hexdigest()[:8]}.pth'
        self.file_backend.put(content, path)
        dropped = sorted(set(checkpoint) - set(kept))
        print_log(f'Published {ckpt_path} as {path}, without {dropped}', 'current', logging.INFO)
