# SPDX-License-Identifier: Apache-2.0
"""One run of a comparison in its own process: train, unless there are weights, and test.

``python -m mmdet_mobilenext.benchmark.one_run FOLDER [--launcher pytorch --processes N]``. It goes
on wherever an earlier process was stopped, and ends at once if all is done.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

# Before torch is loaded: threads that wait by spinning take the cores from others.
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')

from mmdet_mobilenext.benchmark.parent import PARENT, die_with_parent

__all__ = ['main', 'run']


def run(folder: Path, launcher: str = 'none') -> None:
    """Do what is left to do of a run.

    Args:
        folder (Path): Prepared by :func:`prepare_folder`.
        launcher (str): ``'none'``, or ``'pytorch'`` in a process of torchrun.
            Defaults to ``'none'``.

    Raises:
        MixedRunsError: If a file that the config names is not what it was.
        Exception: Whatever training or testing raises.
    """
    from mmengine.config import Config
    from mmengine.dist import is_main_process

    from mmdet_mobilenext.engine.test import test
    from mmdet_mobilenext.engine.test_exported import is_exported, test_exported
    from mmdet_mobilenext.engine.train import train

    from . import progress_hook  # noqa: F401  registers it
    from .errors import MixedRunsError
    from .fingerprint import differences, file_digests
    from .folder import RunFolder, read_json, stamp, write_json

    place = RunFolder.at(folder)
    begun = stamp(Config.fromfile(place.config))

    def config() -> Config:
        # without a file name, so that mmengine does not write its copy over the original
        cfg = Config(Config.fromfile(place.config).to_dict())
        cfg.work_dir = str(folder)
        cfg.launcher = launcher
        hook = dict(type='ProgressFileHook', path=str(place.progress))
        checkpoints = (cfg.get('default_hooks') or {}).get('checkpoint')
        if checkpoints:
            # in the folder of the run, and the last state always: that is what is tested
            checkpoints.pop('out_dir', None)
            checkpoints['save_last'] = True
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]
        return cfg

    task = read_json(place.task)
    if task['checkpoint'] is None and not place.trained.exists():
        if changed := differences(task.get('files') or {}, file_digests(config())):
            raise MixedRunsError(
                f'{place.title} is not what the comparison was begun with: {"; ".join(changed)}. '
                'Undo the change, or begin in another --work-dir'
            )
        runner = train(config(), resume='auto')
        if is_main_process():
            newest = Path((folder / 'last_checkpoint').read_text().strip())
            write_json(
                dict(
                    checkpoint=os.path.relpath(newest, folder),
                    iterations=runner.iter,
                    stamp=begun,
                ),
                place.trained,
            )
        del runner
        if launcher == 'pytorch':
            import torch.distributed

            torch.distributed.barrier()
    cfg = config()
    # the last checkpoint, not the best one: that would be chosen by the data it is tested on
    cfg.test_evaluator = dict(type='DetectionMetric', outfile=str(place.predictions))
    checkpoint = place.checkpoint()
    if is_exported(checkpoint):
        metrics = test_exported(cfg, checkpoint, cfg.model.backend)
    else:
        metrics = test(cfg, checkpoint)
    if is_main_process():
        finite = {key: value for key, value in metrics.items() if value == value}
        write_json(dict(metrics=finite, stamp=begun), place.done)


def main() -> None:
    """Parse arguments, lock the folder and run.

    Raises:
        SystemExit: With 1 and a message, if an expected error stopped it.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--launcher', choices=['none', 'pytorch'], default='none')
    parser.add_argument('--processes', type=int, default=1)
    parser.add_argument('--worker', action='store_true', help='started by torchrun')
    args = parser.parse_args()
    die_with_parent()
    from filelock import FileLock, Timeout

    from mmdet_mobilenext.engine.cli import stop_on_expected_errors

    from .folder import RunFolder

    folder = args.folder.resolve()
    with stop_on_expected_errors():
        if args.worker:
            from mmdet_mobilenext.engine.environment import finish_distributed

            run(folder, args.launcher)
            finish_distributed()
            return
        lock = FileLock(folder / '.lock')
        try:
            # a run of a comparison that was killed a moment ago needs a little to end
            lock.acquire(timeout=float(os.environ.get('MMDET_MOBILENEXT_LOCK_SECONDS', 60)))
        except Timeout:
            sys.exit(f'{folder} is being worked on by another process: wait for it, or stop it')
        with lock:
            place = RunFolder.at(folder)
            if place.done.exists() and place.predictions.exists():
                print(f'{folder}: done already', flush=True)
            elif args.launcher == 'pytorch':
                _torchrun(folder, args.processes)
            else:
                run(folder)


def _torchrun(folder: Path, processes: int) -> None:
    from torch.distributed.run import main as torchrun

    os.environ[PARENT] = str(os.getpid())
    torchrun(
        [
            f'--nproc_per_node={processes}',
            '--nnodes=1',
            '--rdzv_backend=c10d',
            '--rdzv_endpoint=localhost:0',
            '-m',
            'mmdet_mobilenext.benchmark.one_run',
            str(folder),
            '--launcher=pytorch',
            '--worker',
        ]
    )


if __name__ == '__main__':
    main()
