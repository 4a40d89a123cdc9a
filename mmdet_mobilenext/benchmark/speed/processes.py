# SPDX-License-Identifier: Apache-2.0
"""Training steps of several processes together.

``python -m mmdet_mobilenext.benchmark.speed.processes --launch N SPEC.json OUT.json`` starts N of
them through torchrun. All train each candidate on their own batch in memory, candidates in turn;
the first process writes the times.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

# Before torch is loaded: threads that wait by spinning take the cores from others.
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')

import torch
from torch import distributed as dist

from ..folder import write_json
from ..parent import PARENT, die_with_parent
from .candidate import CandidateSpec, CandidateState, Settings
from .lineup import be_quiet, build_candidate
from .memory import run_child
from .tasks import settled
from .timing import run_rounds, timed

__all__ = ['measure_processes']


def measure_processes(
    specs: Sequence[CandidateSpec],
    settings: Settings,
    processes: int,
    batch_size: int,
    threads: int,
) -> dict[str, list[float] | str]:
    """Time training steps of processes that train one model together.

    Args:
        specs (Sequence[CandidateSpec]): Candidates.
        settings (Settings): Shared settings.
        processes (int): How many, on this machine; with gloo on CPUs, nccl on GPUs.
        batch_size (int): Images of each process.
        threads (int): PyTorch's threads in each.

    Returns:
        dict[str, list[float] | str]: Seconds of each step of all processes, or the error.

    Raises:
        RuntimeError: If the processes failed, or there are fewer GPUs.
    """
    if torch.cuda.is_available() and torch.cuda.device_count() < processes:
        raise RuntimeError(
            f'{processes} processes need a GPU each, but there are {torch.cuda.device_count()}'
        )
    command = [sys.executable, '-m', __name__, '--launch', str(processes)]
    task = dict(
        specs=[spec.to_dict() for spec in specs],
        settings={**settings.to_dict(), 'threads': threads},
        batch_size=batch_size,
    )
    return run_child(command, task)


def _step(candidate: CandidateState, batch_size: int) -> Callable[[], float]:
    ids = None
    if candidate.device.type == 'cuda':
        candidate.device = torch.device('cuda', torch.cuda.current_device())
        ids = [candidate.device.index]
    batch = candidate.synthetic_batch(batch_size)
    task = candidate.train_task(distributed=True, device_ids=ids)

    def run() -> None:
        task(batch)
        # a step is over when the slowest process has done it
        dist.barrier()

    return settled(candidate, timed(run))


def _launch(processes: int, spec: Path, out: Path) -> None:
    """Be torchrun, so that its processes end when the one that started it ends."""
    from torch.distributed.run import main as torchrun

    die_with_parent()
    os.environ.pop(PARENT, None)
    # read from stderr if it fails; torchrun says nothing of use there otherwise
    os.environ.setdefault('TORCH_CPP_LOG_LEVEL', 'ERROR')
    module = 'mmdet_mobilenext.benchmark.speed.processes'
    torchrun(
        ['--standalone', '--nproc_per_node', str(processes), '-m', module, str(spec), str(out)]
    )


def main() -> None:
    """Take part in what a file asks for; the first process writes the times to another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('spec', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument('--launch', type=int, help='start so many processes through torchrun')
    args = parser.parse_args()
    if args.launch:
        _launch(args.launch, args.spec, args.out)
        return
    import mmdet_mobilenext  # noqa: F401
    from mmdet_mobilenext.engine.environment import finish_distributed

    be_quiet()
    task = json.loads(args.spec.read_text())
    settings = Settings(**task['settings'])
    if settings.threads:
        torch.set_num_threads(settings.threads)
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ['LOCAL_RANK']))
    backend = 'nccl' if torch.cuda.is_available() else 'gloo'
    dist.init_process_group(backend, timeout=timedelta(minutes=5))
    found: dict[str, list[float] | str] = {}
    runners = {}
    for spec in (CandidateSpec(**entry) for entry in task['specs']):
        # Fails in all processes alike.
        try:
            runners[spec.name] = _step(build_candidate(spec, settings), task['batch_size'])
        except Exception as error:
            found[spec.name] = f'{type(error).__name__}: {error}'
    for name, times in run_rounds(runners, settings.growth_runs, 2).items():
        failed = isinstance(times, Exception)
        found[name] = f'{type(times).__name__}: {times}' if failed else times
    if dist.get_rank() == 0:
        write_json(found, args.out)
    runners.clear()
    finish_distributed()


if __name__ == '__main__':
    main()
