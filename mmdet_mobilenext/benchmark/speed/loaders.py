# SPDX-License-Identifier: Apache-2.0
"""Timing of a stretch of a data loader whose workers rest in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import cv2
from mmengine.dataset.utils import worker_init_fn
from torch.utils.data import DataLoader, Dataset

from .timing import synchronize

__all__ = ['BlockLoader', 'warm_page_cache']

PREFETCH = 2
"""Batches that each worker makes in advance, PyTorch's default."""


class _Blocks:
    """Batches of indices, a fixed number at each iteration, going on where the last one ended."""

    def __init__(self, order: Sequence[int], batch_size: int, length: int) -> None:
        self.order, self.batch_size, self.length = list(order), batch_size, length
        self.position = 0

    def __iter__(self) -> Iterator[list[int]]:
        for _ in range(self.length):
            places = range(self.position, self.position + self.batch_size)
            self.position += self.batch_size
            yield [self.order[place % len(self.order)] for place in places]

    def __len__(self) -> int:
        return self.length


class BlockLoader:
    """A data loader that is timed in blocks, in turn with those of other candidates.

    Workers prefetch. Would a loader just be left alone while the others have their turn, its
    workers went on to fill its queue meanwhile: they would disturb the others, and the next block
    would begin with batches that cost it nothing. So each block is an iteration of its own with

    1. **warm-up**: batches that are used but not counted, as many as fit into the queue and one
       more: the queue starts empty, and gets as full as it is in steady running (full if the
       consumer is slower than the workers, empty if it is faster);
    2. **counted** batches, with the workers producing throughout;
    3. **tail**: as many as the queue can hold, drawn but neither used nor counted. The sampler ends
       here, so afterwards the queue is empty and the workers (which stay alive) wait.

    Only drawing a queue's worth of batches before the clock starts would not do: it would start
    with an empty queue and end with a full one, and charge a block for work of the next.

    Args:
        dataset (Dataset): What to load from.
        order (Sequence[int]): Indices, used again from the start when they are used up.
        collate (Callable): Makes a batch of samples.
        batch_size (int): Images.
        num_workers (int): Processes; 0 loads in this one.
        counted (int): Batches of a block that are timed.
        seed (int): Seed of the workers. Defaults to 0.
        pin_memory (bool): Whether batches are copied to pinned memory. Defaults to False.

    Example:
        >>> loader = BlockLoader(list(range(10)), range(10), list, 2, num_workers=0, counted=2)
        >>> seen = []
        >>> seconds = loader.run(seen.append)
        >>> seen
        [[0, 1], [2, 3], [4, 5]]
    """

    def __init__(
        self,
        dataset: Dataset,
        order: Sequence[int],
        collate: Callable[[list], Any],
        batch_size: int,
        num_workers: int,
        counted: int,
        seed: int = 0,
        pin_memory: bool = False,
    ) -> None:
        if not len(order):
            raise ValueError(f'there is no image to load in {type(dataset).__name__}')
        queue = PREFETCH * num_workers
        self.warm, self.counted, self.tail = queue + 1, counted, queue
        workers: dict[str, Any] = {}
        if num_workers:
            init = partial(_init_worker, num_workers=num_workers, seed=seed)
            workers = dict(persistent_workers=True, prefetch_factor=PREFETCH, worker_init_fn=init)
        self.loader = DataLoader(
            dataset,
            batch_sampler=_Blocks(order, batch_size, self.warm + counted + self.tail),
            num_workers=num_workers,
            collate_fn=collate,
            pin_memory=pin_memory,
            **workers,
        )

    def run(self, consume: Callable[[Any], object]) -> float:
        """Run a block.

        Args:
            consume (Callable): Called with each batch of warm-up and of the counted part.

        Returns:
            float: Seconds of the counted part.
        """
        batches = iter(self.loader)
        for _ in range(self.warm):
            consume(next(batches))
        synchronize()
        start = time.perf_counter()
        for _ in range(self.counted):
            consume(next(batches))
        synchronize()
        seconds = time.perf_counter() - start
        for _ in batches:
            pass
        return seconds


def _init_worker(worker_id: int, num_workers: int, seed: int) -> None:
    cv2.setNumThreads(0)  # as mmengine's runner sets it in workers
    worker_init_fn(worker_id, num_workers=num_workers, rank=0, seed=seed)


def warm_page_cache(paths: Sequence[str]) -> None:
    """Read files once, so that none is charged to the candidate that comes first.

    Args:
        paths (Sequence[str]): Files.

    Example:
        >>> warm_page_cache([])
    """
    for path in paths:
        with open(path, 'rb') as file:
            while file.read(1 << 20):
                pass
