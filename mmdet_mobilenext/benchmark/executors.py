# SPDX-License-Identifier: Apache-2.0
"""Start runs: some at a time on this machine, or all through a cluster's own scheduler."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import mmdet_mobilenext

from .errors import BenchmarkError, RunFailedError
from .folder import RunFolder
from .parent import PARENT
from .progress import Board

__all__ = ['command_of', 'run_here', 'run_on_cluster', 'tail']


def command_of(folder: RunFolder, launcher: str = 'none', processes: int = 1) -> list[str]:
    """The command of a run.

    Args:
        folder (RunFolder): Its folder.
        launcher (str): ``'none'`` or ``'pytorch'``. Defaults to ``'none'``.
        processes (int): Processes of the run. Defaults to 1.

    Returns:
        list[str]: Arguments, the interpreter first.
    """
    command = [sys.executable, '-m', 'mmdet_mobilenext.benchmark.one_run', str(folder.path)]
    if launcher != 'none':
        command += ['--launcher', launcher, '--processes', str(processes)]
    return command


def environment(threads: int) -> dict[str, str]:
    """Environment variables of a run.

    Args:
        threads (int): CPU threads of each process.

    Returns:
        dict[str, str]: Those of this process, threads, and a path on which the package is found.
    """
    root = str(Path(mmdet_mobilenext.__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get('PYTHONPATH')]))
    return {
        **os.environ,
        'OMP_NUM_THREADS': str(threads),
        'OMP_WAIT_POLICY': os.environ.get('OMP_WAIT_POLICY', 'passive'),
        'PYTHONPATH': path,
        PARENT: str(os.getpid()),
    }


def run_here(
    folders: Sequence[RunFolder],
    board: Board,
    jobs: int = 1,
    launcher: str = 'none',
    processes: int = 1,
    threads: int = 1,
) -> None:
    """Run on this machine, each in a process of its own.

    A run that fails does not stop the others.

    Args:
        folders (Sequence[RunFolder]): Runs to do, in order.
        board (Board): Shows progress.
        jobs (int): Runs at the same time. Defaults to 1.
        launcher (str): ``'none'`` or ``'pytorch'``. Defaults to ``'none'``.
        processes (int): Processes of each run. Defaults to 1.
        threads (int): CPU threads of each process. Defaults to 1.

    Raises:
        RunFailedError: After the last run, if one or more have failed.
    """
    waiting, running, failed = list(folders), {}, {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                folder = waiting.pop(0)
                running[folder] = _start(folder, launcher, processes, threads)
                number = list(folders).index(folder) + 1
                board.say(f'[{number}/{len(folders)}] {folder.title}: log in {folder.log}')
            for folder, process in list(running.items()):
                if process.poll() is not None:
                    del running[folder]
                    if process.returncode or not folder.done.exists():
                        failed[folder] = process.returncode
                        board.say(f'{folder.title} FAILED (exit code {process.returncode})')
                    else:
                        board.say(f'{folder.title} done. {board.text()}')
            board.tick()
            time.sleep(0.2)
    finally:
        for process in running.values():
            process.send_signal(signal.SIGTERM)
        for process in running.values():
            process.wait()
    _raise_if_failed(failed, len(folders))


def _start(
    folder: RunFolder, launcher: str, processes: int, threads: int
) -> subprocess.Popen[bytes]:
    with open(folder.log, 'ab') as log:
        return subprocess.Popen(
            command_of(folder, launcher, processes),
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment(threads),
        )


def run_on_cluster(
    folders: Sequence[RunFolder],
    board: Board,
    logs: Path,
    cluster: str = 'slurm',
    options: Mapping[str, object] | None = None,
    launcher: str = 'none',
    processes: int = 1,
    threads: int = 1,
) -> None:
    """Hand every run to a scheduler through submitit, and wait for all.

    The folder must be on a file system that all machines share. Runs that are still in the queue
    of an earlier call are waited for by the new job, which finds them done.

    Args:
        folders (Sequence[RunFolder]): Runs to do.
        board (Board): Shows progress.
        logs (Path): Folder of submitit's own files.
        cluster (str): ``'slurm'``, or ``'local'`` for processes of this machine.
            Defaults to ``'slurm'``.
        options (Mapping, optional): Parameters of submitit's executor, such as ``timeout_min``,
            ``slurm_partition`` or ``gpus_per_node``.
        launcher (str): ``'none'`` or ``'pytorch'``. Defaults to ``'none'``.
        processes (int): Processes of each run. Defaults to 1.
        threads (int): CPU threads of each process. Defaults to 1.

    Raises:
        BenchmarkError: If submitit is not installed or does not know an option.
        RunFailedError: After the last run, if one or more have failed.
    """
    try:
        import submitit
    except ImportError as error:
        raise BenchmarkError(
            "--cluster needs submitit: pip install 'mmdet-mobilenext[cluster]'"
        ) from error
    try:
        executor = submitit.AutoExecutor(folder=str(logs), cluster=cluster)
        executor.update_parameters(
            **{'name': 'benchmark', 'cpus_per_task': threads * processes, **(options or {})}
        )
    except (NameError, RuntimeError, TypeError, ValueError) as error:
        raise BenchmarkError(f'submitit does not take these cluster options: {error}') from error
    jobs = {}
    with executor.batch():
        for folder in folders:
            command = command_of(folder, launcher, processes)
            jobs[folder] = executor.submit(_call, command, str(folder.log), threads)
    for folder, job in jobs.items():
        board.say(f'{folder.title}: job {job.job_id}, log in {folder.log}')
    try:
        while not all(job.done() for job in jobs.values()):
            board.tick()
            time.sleep(1.0 if cluster == 'local' else 10.0)
    except BaseException:
        for job in jobs.values():
            job.cancel()
        raise
    failed = {folder: job.state for folder, job in jobs.items() if not folder.done.exists()}
    _raise_if_failed(failed, len(folders))


def _call(command: list[str], log: str, threads: int) -> int:
    """What a job of the cluster does, with the environment that the scheduler gave it."""
    # a job may wait for one of an earlier call
    variables = {**environment(threads), 'MMDET_MOBILENEXT_LOCK_SECONDS': '-1'}
    with open(log, 'ab') as file:
        return subprocess.run(
            command, stdout=file, stderr=subprocess.STDOUT, env=variables, check=True
        ).returncode


def tail(path: Path, lines: int = 12) -> str:
    """The last lines of a log.

    Args:
        path (Path): Text file.
        lines (int): Number of lines. Defaults to 12.

    Returns:
        str: The lines, indented; empty if there is no file.
    """
    if not path.is_file():
        return ''
    text = path.read_text(encoding='utf-8', errors='replace').rstrip().splitlines()
    return '\n'.join(f'    {line}' for line in text[-lines:])


def _raise_if_failed(failed: Mapping[RunFolder, object], total: int) -> None:
    if failed:
        raise RunFailedError(
            f'{len(failed)} of {total} runs failed; the others are kept, and the same command '
            'goes on with these:\n'
            + '\n'.join(
                f'  {folder.title} ({reason}), log {folder.log}:\n{tail(folder.log)}'
                for folder, reason in failed.items()
            )
        )
