# SPDX-License-Identifier: Apache-2.0
"""Peak memory of a candidate, with its workers.

``python -m mmdet_mobilenext.benchmark.speed.memory SPEC.json OUT.json`` measures one candidate in
one phase, in a process of its own.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before torch is loaded: threads that wait by spinning take the cores from others.
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')

import torch

from mmdet_mobilenext.engine.keep_memory_hook import KeepMemoryHook, separate_large_blocks

from ..folder import read_json, write_json
from ..parent import PARENT, die_with_parent
from .candidate import CandidateSpec, CandidateState, Settings
from .lineup import be_quiet, build_candidate

__all__ = ['PHASES', 'PeakMemory', 'measure_memory', 'run_child']

PHASES = ('training', 'evaluation')
ITERATIONS = 3
"""Counted batches; memory does not grow after the first few."""


class PeakMemory:
    """The most memory that this process and its children have had while the block ran.

    Memory that they share, as after a fork, is counted once (PSS of Linux).

    Args:
        seconds (float): Time between two looks. Defaults to 0.05.

    Example:
        >>> with PeakMemory() as peak:
        ...     _ = bytearray(10_000_000)
        >>> peak.total_mb > 10
        True
    """

    def __init__(self, seconds: float = 0.05) -> None:
        self.seconds, self.total_mb, self.processes = seconds, 0.0, 1
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        """Begin to look."""
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Stop looking."""
        self._stop.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._stop.wait(self.seconds):
            self._look()

    def _look(self) -> None:
        pids = [os.getpid(), *_children(os.getpid())]
        self.total_mb = max(self.total_mb, sum(_pss(pid) for pid in pids) / 1e6)
        self.processes = max(self.processes, len(pids))


def _children(pid: int) -> list[int]:
    """Children of a process and theirs."""
    found = []
    for path in Path(f'/proc/{pid}/task').glob('*/children'):
        try:
            found += [int(child) for child in path.read_text().split()]
        except OSError:  # a thread that has just ended
            continue
    return found + [grand for child in found for grand in _children(child)]


def _pss(pid: int) -> int:
    """Proportional set size in bytes, 0 for a process that has just ended."""
    try:
        text = Path(f'/proc/{pid}/smaps_rollup').read_text()
    except OSError:
        return 0
    line = next((line for line in text.splitlines() if line.startswith('Pss:')), None)
    return int(line.split()[1]) * 1024 if line else 0


def measure_memory(spec: CandidateSpec, settings: Settings, phase: str) -> dict[str, Any]:
    """Measure one candidate; to be called in a fresh process.

    Args:
        spec (CandidateSpec): What to run.
        settings (Settings): Shared settings.
        phase (str): ``'training'`` or ``'evaluation'``, each with its data loader.

    Returns:
        dict: In MB (10**6 bytes): ``process_mb``, peak resident memory of the main process,
            ``total_mb``, of it and its workers together (shared memory counted once), and on a GPU
            ``gpu_mb``, the peak that was allocated. ``processes`` tells how many there were.
    """
    candidate = build_candidate(spec, settings)
    train = phase == 'training'
    size = settings.batch_size if train else settings.test_batch_size
    with PeakMemory() as peak:
        if train:
            consume = _as_the_hook_does(candidate, candidate.train_task())
        else:
            candidate.calibrate(candidate.batch(size, train=False))
            consume = candidate.predict
            candidate.use_memory()
        candidate.loader(train, size, ITERATIONS).run(consume)
    found = dict(process_mb=_peak_resident_mb(), total_mb=peak.total_mb, processes=peak.processes)
    if torch.cuda.is_available():
        found['gpu_mb'] = torch.cuda.max_memory_allocated() / 1e6
    return found


def _as_the_hook_does(
    candidate: CandidateState, step: Callable[[Any], object]
) -> Callable[[Any], object]:
    """Training steps with what ``KeepMemoryHook`` does before and between them."""
    if not candidate.keeps_memory:
        return step
    separate_large_blocks()
    done = itertools.count(1)

    def run(batch: Any) -> None:
        step(batch)
        if next(done) == KeepMemoryHook().first_iterations:
            candidate.use_memory()

    return run


def _peak_resident_mb() -> float:
    # not getrusage: its maximum is inherited from the process that started this one
    lines = Path('/proc/self/status').read_text().splitlines()
    return int(next(line for line in lines if line.startswith('VmHWM')).split()[1]) * 1024 / 1e6


def run_child(command: list[str], spec: dict[str, Any]) -> Any:
    """Run a module of this package in a process of its own and read what it has written.

    Args:
        command (list[str]): Command; the files of spec and result are put at its end.
        spec (dict): What it reads.

    Returns:
        Any: What it wrote.

    Raises:
        RuntimeError: If it failed; with its last lines.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder) / 'spec.json', Path(folder) / 'out.json'
        write_json(spec, paths[0])
        done = subprocess.run(
            [*command, *map(str, paths)],
            env={**os.environ, PARENT: str(os.getpid())},
            capture_output=True,
            text=True,
        )
        result = read_json(paths[1])
        if done.returncode or result is None:
            lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
            end = [line for line in lines if line.strip()][-8:]
            raise RuntimeError(f'exit code {done.returncode}: ' + '\n'.join(end))
        return result


def measure_in_child(spec: CandidateSpec, settings: Settings, phase: str) -> dict[str, Any]:
    """:func:`measure_memory` in a fresh process.

    Args:
        spec (CandidateSpec): What to run.
        settings (Settings): Shared settings.
        phase (str): ``'training'`` or ``'evaluation'``.

    Returns:
        dict: See :func:`measure_memory`.

    Raises:
        RuntimeError: If the process failed.
    """
    task = dict(spec=spec.to_dict(), settings=settings.to_dict(), phase=phase)
    return run_child([sys.executable, '-m', __name__], task)


def answer_parent(measure: Callable[..., Any], description: str | None = None) -> None:
    """Measure what :func:`run_child` asks for and write the result where it reads it.

    Args:
        measure (Callable): Takes a ``CandidateSpec``, ``Settings`` and the rest of what was asked
            for by name.
        description (str, optional): Of the module, for ``--help``.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('spec', type=Path)
    parser.add_argument('out', type=Path)
    args = parser.parse_args()
    die_with_parent()
    import mmdet_mobilenext  # noqa: F401

    be_quiet()
    task = json.loads(args.spec.read_text())
    settings = Settings(**task.pop('settings'))
    if settings.threads:
        torch.set_num_threads(settings.threads)
    write_json(measure(CandidateSpec(**task.pop('spec')), settings, **task), args.out)


if __name__ == '__main__':
    answer_parent(measure_memory, __doc__)
