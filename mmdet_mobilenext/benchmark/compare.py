# SPDX-License-Identifier: Apache-2.0
"""The whole comparison: run, measure, evaluate, report. The work behind ``tools/benchmark.py``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmdet_mobilenext.checksum import sha256_of
from mmdet_mobilenext.evaluation.disagreement import score_threshold
from mmdet_mobilenext.evaluation.records import DetectionRecords, RecordsFileError

from .errors import RunFailedError
from .executors import environment, run_here, run_on_cluster, tail
from .exported_file import weights_digest
from .fingerprint import config_digest
from .folder import RunFolder, prepare_folder, read_json, write_json
from .plan import Plan
from .progress import Board
from .results import build_results

__all__ = ['compare']


def compare(
    plan: Plan,
    jobs: int = 1,
    cluster: str | None = None,
    cluster_options: Mapping[str, Any] | None = None,
    profile_threads: int = 1,
    latency_runs: int = 100,
    train_runs: int = 10,
    resamples: int = 1000,
) -> Path:
    """Do whatever is left to do of a comparison.

    Args:
        plan (Plan): See :func:`make_plan`.
        jobs (int): Runs at the same time on this machine. Defaults to 1.
        cluster (str, optional): ``'slurm'`` or ``'local'``, through submitit. Defaults to None,
            this machine.
        cluster_options (Mapping, optional): Parameters of submitit's executor.
        profile_threads (int): CPU threads while the cost is measured. Defaults to 1.
        latency_runs (int): Timed predictions of each model. Defaults to 100.
        train_runs (int): Timed training steps of each model. Defaults to 10.
        resamples (int): Bootstrap resamples. Defaults to 1000.

    Returns:
        Path: The page, ``DIR/report/index.html``.

    Raises:
        BenchmarkError: If the folder, or what was found, cannot be compared.
        RunFailedError: If a run failed; the finished ones are kept.
    """
    folders = prepare_folder(plan)
    _forget_broken(folders)
    with Board(folders) as board:
        left = [folder for folder in folders if not folder.done.exists()]
        done = len(folders) - len(left)
        board.say(
            f'{len(folders)} runs: {len(plan.models)} models x {len(plan.seeds)} seeds'
            + (f', {done} done already' if done else '')
        )
        options = dict(launcher=plan.launcher, processes=plan.processes, threads=plan.threads)
        if not left:
            pass
        elif cluster is not None:
            logs = plan.folder / 'cluster'
            run_on_cluster(left, board, logs, cluster, cluster_options, **options)
        else:
            run_here(left, board, jobs, **options)

    say = board.say
    say('measuring size, latency, training speed and memory')
    spec = dict(
        latency_runs=latency_runs,
        train_runs=train_runs,
        real_training_data=plan.trained_here,
        num_classes=len(plan.classes),
    )
    measured, memory = _profile(plan, folders, spec, profile_threads)
    records = {
        model.name: [
            DetectionRecords.load(folder.predictions)
            for folder in folders
            if folder.model == model.name
        ]
        for model in plan.models
    }
    results = build_results(plan, records, folders, measured, memory, resamples, say)
    say('writing the report')
    try:
        page = _write(plan, results, records)
    except OSError as error:
        raise RunFailedError(
            f'the report could not be written: {error}. All runs are kept, and the same command '
            'goes on from here'
        ) from error
    for comparison in results['comparisons']:
        say('\n' + comparison['sentence'])
    return page


def _forget_broken(folders: Sequence[RunFolder]) -> None:
    """Let a run whose predictions are missing or damaged be tested again."""
    for folder in folders:
        if folder.done.exists():
            try:
                DetectionRecords.load(folder.predictions)
            except (FileNotFoundError, RecordsFileError) as error:
                print(f'{folder.title} is tested again: {error}', flush=True)
                folder.done.unlink()


def _profile(
    plan: Plan, folders: Sequence[RunFolder], options: Mapping[str, Any], threads: int
) -> tuple[dict[str, Any], dict[str, dict]]:
    """Measure the cost of the first seed of each model, in fresh processes.

    Returns:
        tuple: The file of :mod:`.cost` (``result``, ``machine`` and ``finished``), and memory by
            model.
    """
    firsts = {}
    for folder in folders:
        firsts.setdefault(folder.model, folder)
    entries = [
        dict(
            name=name,
            config=str(folder.config),
            checkpoint=folder.checkpoint(),
            checkpoint_sha256=weights_digest(folder.checkpoint()),
            config_digest=config_digest(Config.fromfile(folder.config)),
        )
        for name, folder in firsts.items()
    ]
    place = plan.folder / 'profile'
    source = sha256_of(Path(__file__).with_name('cost.py'))[:16]
    threads_and_code = dict(threads=threads, code=plan.code, source=source)
    measured = _measure(place / 'cost.json', dict(models=entries, **options, **threads_and_code))
    memory = {
        entry['name']: _measure(
            place / f'memory-{entry["name"]}.json',
            dict(models=[entry], **options, **threads_and_code),
            '--memory',
        )['result']
        for entry in entries
    }
    return measured, memory


def _measure(out: Path, spec: dict[str, Any], *flags: str) -> dict[str, Any]:
    before = read_json(out)
    if before is not None and before['spec'] == spec:
        return before
    spec_path = out.with_suffix('.spec.json')
    write_json(spec, spec_path)
    log = out.with_suffix('.log')
    command = [sys.executable, '-m', 'mmdet_mobilenext.benchmark.cost', str(spec_path), str(out)]
    with open(log, 'wb') as file:
        code = subprocess.run(
            [*command, *flags],
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment(spec['threads']),
        ).returncode
    if code:
        raise RunFailedError(
            f'measuring the cost failed (exit code {code}), log {log}:\n{tail(log)}\n'
            'the runs are kept, and the same command goes on from here'
        )
    return read_json(out)


def _write(
    plan: Plan, results: dict[str, Any], records: Mapping[str, Sequence[DetectionRecords]]
) -> Path:
    from .page import make_gallery, write_report

    names = [model.name for model in plan.models[:2]]
    pair = [records[name][0] for name in names]
    gallery = make_gallery(
        results['disagreement'], *pair, names, [score_threshold(item) for item in pair]
    )
    return write_report(results, plan.folder / 'report', gallery)
