# SPDX-License-Identifier: Apache-2.0
"""How far a run is, in a small file that others can read."""

from __future__ import annotations

import json
import time

from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdet_mobilenext.engine.atomic_checkpoint_hook import AtomicLocalBackend

__all__ = ['ProgressFileHook']


@HOOKS.register_module(force=True)
class ProgressFileHook(Hook):
    """Write phase, iterations done and iterations in all to a JSON file.

    Args:
        path (str): File to write.
        seconds (float): Least time between two writes. Defaults to 2.

    Example:
        >>> ProgressFileHook('progress.json').seconds
        2.0
    """

    priority = 'LOWEST'

    def __init__(self, path: str, seconds: float = 2.0) -> None:
        self.path = path
        self.seconds = seconds
        self._last = 0.0

    def _write(self, phase: str, done: int, total: int) -> None:
        now = time.monotonic()
        if is_main_process() and (done == total or now - self._last >= self.seconds):
            self._last = now
            content = json.dumps(dict(phase=phase, done=done, total=total))
            AtomicLocalBackend().put_text(content, self.path)

    def before_train(self, runner: Runner) -> None:
        """Write where a resumed run begins."""
        self._last = 0.0
        self._write('train', runner.iter, runner.max_iters)

    def after_train_iter(self, runner: Runner, batch_idx: int, *args, **kwargs) -> None:
        """Write after an iteration."""
        self._write('train', runner.iter + 1, runner.max_iters)

    def after_test_iter(self, runner: Runner, batch_idx: int, *args, **kwargs) -> None:
        """Write after a test batch."""
        self._write('test', batch_idx + 1, len(runner.test_dataloader))
