# SPDX-License-Identifier: Apache-2.0
"""What is timed of the candidates: loading, training step, loss, epoch, evaluation."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np
import torch

from .candidate import CandidateState
from .loaders import warm_page_cache
from .timing import Series, as_series, run_rounds, timed

__all__ = [
    'measure',
    'measure_epoch',
    'measure_evaluate',
    'measure_load',
    'measure_step',
    'settled',
]

Watch = Callable[[int, int], None]
Maker = Callable[[CandidateState], Callable[[], float]]


def measure(
    task: str,
    what: str,
    candidates: Sequence[CandidateState],
    make: Maker,
    images: int,
    rounds: int,
    watch: Watch,
    warm_up: int = 1,
) -> list[Series]:
    """Time all candidates in turn; one that cannot be built or fails is reported as failed.

    Args:
        task (str): Task of the command line.
        what (str): What is timed, for the table.
        candidates (Sequence[CandidateState]): The baseline first.
        make (Callable): Makes what runs a candidate once and returns its seconds.
        images (int): Images in each run.
        rounds (int): Counted runs of each.
        watch (Callable): Called after each round with rounds done and in all.
        warm_up (int): Runs of each that are not counted. Defaults to 1.

    Returns:
        list[Series]: In the order of the candidates.
    """
    runners, failed = {}, {}
    for candidate in candidates:
        try:
            runners[candidate.name] = make(candidate)
        except Exception as error:  # whatever a foreign detector raises
            failed[candidate.name] = error
    found = {**run_rounds(runners, rounds, warm_up, watch), **failed}
    found = {candidate.name: found[candidate.name] for candidate in candidates}
    return as_series(found, task, what, images)


def settled(candidate: CandidateState, run: Callable[[], float]) -> Callable[[], float]:
    """A run with the candidate's own setting of the C library's memory.

    Args:
        candidate (CandidateState): Whose run it is.
        run (Callable): Runs once and returns its seconds.

    Returns:
        Callable: The same; if memory was given back since it ran last, it runs once uncounted
            before.
    """

    def runner() -> float:
        if candidate.use_memory():
            run()
        return run()

    return runner


def measure_load(candidates: Sequence[CandidateState], watch: Watch) -> list[Series]:
    """Images/s of each training pipeline alone: in one process, and with the workers.

    All load the same images, which are read once beforehand. In one process nothing runs in
    parallel (OpenCV and PyTorch with one thread), as in a worker.

    Args:
        candidates (Sequence[CandidateState]): The baseline first.
        watch (Callable): See :func:`measure`.

    Returns:
        list[Series]: One process, then through the data loader.
    """
    settings = candidates[0].settings
    images = 2 * settings.batch_size

    def alone(candidate: CandidateState) -> Callable[[], float]:
        order, dataset = candidate.order(True), candidate.train_dataset
        warm_page_cache([candidate.paths(True)[i] for i in order])
        state = dict(round=0)

        def load() -> None:
            start = state['round'] * images
            for place in range(start, start + images):
                dataset[order[place % len(order)]]

        run = timed(load)

        def seeded() -> float:
            # the same chance for all in a round, another in the next
            np.random.seed(settings.seed + state['round'])
            torch.manual_seed(settings.seed + state['round'])
            seconds = run()
            state['round'] += 1
            return seconds

        return seeded

    with one_thread():
        series = measure(
            'load', 'pipeline, one process', candidates, alone, images, settings.runs, watch
        )
    images = settings.block * settings.batch_size
    workers = settings.num_workers
    what = f'data loader, {workers} worker{"s" * (workers != 1)}, batch {settings.batch_size}'

    def loader(candidate: CandidateState) -> Callable[[], float]:
        block = candidate.loader(True, settings.batch_size, settings.block)
        return lambda: block.run(lambda batch: None)

    return series + measure('load', what, candidates, loader, images, settings.runs, watch)


def measure_step(
    candidates: Sequence[CandidateState], watch: Watch, with_loss: bool = True
) -> list[Series]:
    """Training steps on a real batch in memory, and the loss in the same rounds.

    The loss is ``loss_by_feat`` (targets, assignment, mining and the losses themselves) on the
    head's outputs of that batch, cut off from the network, with the backward down to them.

    Args:
        candidates (Sequence[CandidateState]): The baseline first.
        watch (Callable): See :func:`measure`.
        with_loss (bool): Whether the loss is timed as well. Defaults to True.

    Returns:
        list[Series]: Steps, then losses.
    """
    settings = candidates[0].settings
    size, rounds = settings.batch_size, settings.runs
    batches = {}

    def step(candidate: CandidateState) -> Callable[[], float]:
        torch.manual_seed(settings.seed)
        np.random.seed(settings.seed)
        batches[candidate.name] = batch = candidate.batch(size)
        task = candidate.train_task()
        return settled(candidate, timed(lambda: task(batch)))

    steps = {}
    losses = {}
    failed: dict[str, dict[str, Exception]] = dict(step={}, loss={})
    for candidate in candidates:
        for key, make, store in (
            ('step', step, steps),
            ('loss', lambda c: settled(c, timed(c.loss_task(batches[c.name]))), losses),
        ):
            if key == 'loss' and not with_loss:
                continue
            try:
                store[candidate.name] = make(candidate)
            except Exception as error:  # whatever a foreign detector raises
                failed[key][candidate.name] = error
                if key == 'step':  # no batch either
                    failed['loss'][candidate.name] = error
                    break
    # one set of rounds, so that the share of the loss is one of the same moment
    runners = {}
    for name, runner in steps.items():
        runners['step', name] = runner
        if name in losses:
            runners['loss', name] = losses[name]
    found = run_rounds(runners, rounds, 2, watch)
    series = []
    for key, what in (('step', 'training step'), ('loss', 'loss and assignment')):
        if key == 'loss' and not with_loss:
            continue
        times = {c.name: found.get((key, c.name), failed[key].get(c.name)) for c in candidates}
        series += as_series(times, key, f'{what}, batch {size}', size)
    for candidate in candidates:
        candidate.release()
    return series


def measure_epoch(candidates: Sequence[CandidateState], watch: Watch) -> list[Series]:
    """Training end to end: data loader with its workers, and steps.

    Args:
        candidates (Sequence[CandidateState]): The baseline first.
        watch (Callable): See :func:`measure`.

    Returns:
        list[Series]: A block of iterations each run.
    """
    settings = candidates[0].settings

    def make(candidate: CandidateState) -> Callable[[], float]:
        task = candidate.train_task()
        warm_page_cache([candidate.paths(True)[i] for i in candidate.order(True)])
        block = candidate.loader(True, settings.batch_size, settings.block)

        def run() -> float:
            candidate.use_memory()  # the block has a warm-up of its own
            return block.run(task)

        return run

    workers = settings.num_workers
    what = (
        f'training, batch {settings.batch_size}, {workers} worker{"s" * (workers != 1)}, '
        f'{settings.block} iterations'
    )
    images = settings.block * settings.batch_size
    series = measure('epoch', what, candidates, make, images, settings.runs, watch)
    for candidate in candidates:
        candidate.release()
    return series


def measure_evaluate(candidates: Sequence[CandidateState], watch: Watch) -> list[Series]:
    """Prediction of test images end to end: data loader, network, decoding, NMS.

    Weights are random, so the background's bias is shifted until as many boxes as usual reach NMS,
    the same number in all candidates (see ``CANDIDATES_FOR_NMS``).

    Args:
        candidates (Sequence[CandidateState]): The baseline first.
        watch (Callable): See :func:`measure`.

    Returns:
        list[Series]: A block of batches each run.
    """
    settings = candidates[0].settings
    size = settings.test_batch_size

    def make(candidate: CandidateState) -> Callable[[], float]:
        warm_page_cache([candidate.paths(False)[i] for i in candidate.order(False)])
        candidate.calibrate(candidate.batch(size, train=False))
        block = candidate.loader(False, size, settings.block)

        def run() -> float:
            candidate.use_memory()
            return block.run(candidate.predict)

        return run

    workers = settings.num_workers
    what = f'prediction, batch {size}, {workers} worker{"s" * (workers != 1)}'
    images = settings.block * size
    series = measure('evaluate', what, candidates, make, images, settings.runs, watch)
    for candidate in candidates:
        candidate.release()
    return series


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let OpenCV and PyTorch use one thread meanwhile."""
    threads, torch_threads = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
        torch.set_num_threads(torch_threads)
