# SPDX-License-Identifier: Apache-2.0
"""Options of ``tools/benchmark.py``: defaults, limits, and what does not go together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import MMLogger

from mmdet_mobilenext.processes import available_cores

from .compare import compare
from .errors import BenchmarkError
from .folder import read_json
from .plan import make_plan

__all__ = ['compare_from_options']


def compare_from_options(
    configs: Sequence[str],
    work_dir: str,
    seeds: Sequence[int] = (0,),
    checkpoints: Sequence[str] = (),
    data_root: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    jobs: int | None = None,
    threads: int | None = None,
    launcher: str = 'none',
    processes: int = 1,
    cluster: str | None = None,
    cluster_options: Mapping[str, Any] | None = None,
    resamples: int = 1000,
    latency_runs: int = 100,
    train_runs: int = 10,
) -> Path:
    """Check the options and make the comparison.

    Args:
        configs (Sequence[str]): Config files, the baseline first.
        work_dir (str): Folder of all results.
        seeds (Sequence[int]): Training seeds. Defaults to (0,).
        checkpoints (Sequence[str]): Weights instead of training. Defaults to none.
        data_root (str, optional): Root of the data of all configs.
        cfg_options (Mapping, optional): Overrides of all configs.
        jobs (int, optional): Runs at the same time. Defaults to None: two on a CPU with two cores
            or more and one process a run, else one.
        threads (int, optional): CPU threads of a process. Defaults to None, that of the folder
            if it has been begun, else the cores divided by the processes at the same time.
        launcher (str): ``'none'`` or ``'pytorch'``. Defaults to ``'none'``.
        processes (int): Processes of a run. Defaults to 1.
        cluster (str, optional): ``'slurm'`` or ``'local'``. Defaults to None.
        cluster_options (Mapping, optional): Parameters of submitit's executor.
        resamples (int): Bootstrap resamples, at least 1,000 for intervals that hold.
            Defaults to 1000.
        latency_runs (int): Timed predictions of each model. Defaults to 100.
        train_runs (int): Timed training steps of each model. Defaults to 10.

    Returns:
        Path: The page.

    Raises:
        BenchmarkError: If options do not go together.
    """
    counts = dict(
        jobs=jobs,
        threads=threads,
        processes=processes,
        resamples=resamples,
        latency_runs=latency_runs,
        train_runs=train_runs,
    )
    for name, value in counts.items():
        if value is not None and value < 1:
            option = '--' + name.replace('_', '-')
            raise BenchmarkError(f'{option} must be at least 1, but is {value}')
    if launcher == 'none' and processes > 1:
        raise BenchmarkError(f'--processes {processes} needs --launcher pytorch')
    if cluster_options and cluster is None:
        raise BenchmarkError('--cluster-options needs --cluster')
    if cluster is not None and jobs is not None:
        raise BenchmarkError('--jobs is for this machine: with --cluster the scheduler decides')
    cores = available_cores()
    if jobs is None:
        # two runs of one thread each get more done than one after the other with two threads
        alone = torch.cuda.is_available() or launcher != 'none' or cores < 2
        jobs = 1 if alone or cluster else 2
    manifest = read_json(Path(work_dir, 'benchmark.json')) or {}
    if threads is None:
        # a folder goes on with the number that it began with
        threads = (manifest.get('protocol') or {}).get('threads')
    if threads is None:
        threads = max(1, cores // (jobs * processes))
    options = dict(cfg_options or {})
    if data_root is not None:
        options['data_root'] = data_root
    MMLogger.get_instance('benchmark', log_level='WARNING')
    plan = make_plan(configs, work_dir, seeds, checkpoints, options, launcher, processes, threads)
    return compare(
        plan,
        jobs=jobs,
        cluster=cluster,
        cluster_options=cluster_options,
        profile_threads=cores,
        latency_runs=latency_runs,
        train_runs=train_runs,
        resamples=resamples,
    )
