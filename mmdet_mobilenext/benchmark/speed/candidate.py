# SPDX-License-Identifier: Apache-2.0
"""What is timed: a detector with its own data pipeline."""

from __future__ import annotations

import abc
import gc
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from mmdet_mobilenext.engine.keep_memory_hook import keep_freed_memory, memory_is_kept

from .loaders import BlockLoader

__all__ = ['CandidateSpec', 'CandidateState', 'CannotVaryError', 'Settings']

CANDIDATES_FOR_NMS = 300
"""Pairs of prior and class an image that pass the score threshold when prediction is timed, the
same for all: with random weights either all would pass or none."""


class CannotVaryError(NotImplementedError):
    """A candidate cannot be built at another size or with other classes."""


@dataclass(frozen=True)
class CandidateSpec:
    """How to build a candidate, in a form that other processes can be told.

    Attributes:
        name (str): Name in the tables.
        config (str): Config file, ``mmdet::...`` for one of mmdet, or ``torchvision``.
        cfg_options (dict): Overrides of the config.
        pipeline (str, optional): Variable of the config that holds the training pipeline to use
            instead of that of the loader.
        fused (bool, optional): Value for ``fused`` of the training pipeline's transforms.
        tasks (tuple[str, ...], optional): Tasks to take part in; None for all.

    Example:
        >>> CandidateSpec('ours', 'ours.py', tasks=('load',)).takes_part('step')
        False
    """

    name: str
    config: str
    cfg_options: dict = field(default_factory=dict)
    pipeline: str | None = None
    fused: bool | None = None
    tasks: tuple[str, ...] | None = None

    def takes_part(self, task: str) -> bool:
        """Whether the candidate is measured in a task."""
        return self.tasks is None or task in self.tasks

    def to_dict(self) -> dict:
        """All fields, for JSON."""
        return asdict(self)


@dataclass
class Settings:
    """What all tasks share.

    Attributes:
        data_root (str): VOCdevkit folder.
        batch_size (int): Images of a training batch. Defaults to 24.
        test_batch_size (int): Images of a test batch. Defaults to 8.
        num_workers (int): Workers of each data loader. Defaults to 1.
        threads (int): PyTorch's threads; 0 for its own choice. Defaults to 0.
        runs (int): Counted rounds. Defaults to 10.
        block (int): Counted batches of a block of a loader. Defaults to 6.
        images (int): Images of each split that are used. Defaults to 512.
        growth_runs (int): Counted rounds of each point of growth. Defaults to 5.
        seed (int): Order of images and chance of the pipelines. Defaults to 0.
    """

    data_root: str
    batch_size: int = 24
    test_batch_size: int = 8
    num_workers: int = 1
    threads: int = 0
    runs: int = 10
    block: int = 6
    images: int = 512
    growth_runs: int = 5
    seed: int = 0

    def to_dict(self) -> dict:
        """All fields, for JSON."""
        return asdict(self)


class CandidateState(abc.ABC):
    """A candidate with data sets and model, each built when it is first needed.

    Args:
        spec (CandidateSpec): How to build it.
        settings (Settings): Shared settings.
    """

    def __init__(self, spec: CandidateSpec, settings: Settings) -> None:
        self.spec, self.settings = spec, settings
        self.device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
        # Basenames of the images to use, in order; None: any.
        self.shared: dict[bool, list[str] | None] = {True: None, False: None}
        self._memory_seen = CandidateState._memory_changes

    @property
    def name(self) -> str:
        """str: Name in the tables."""
        return self.spec.name

    # What a subclass builds -------------------------------------------------

    input_size: tuple[int, int]
    """Height and width of the network's input in pixels."""
    num_classes: int
    """Classes without background."""

    @cached_property
    @abc.abstractmethod
    def model(self) -> nn.Module:
        """The detector on the device, random weights."""

    @cached_property
    @abc.abstractmethod
    def train_dataset(self) -> Dataset:
        """Training set with the candidate's pipeline."""

    @cached_property
    @abc.abstractmethod
    def test_dataset(self) -> Dataset:
        """Test set with the candidate's pipeline."""

    @abc.abstractmethod
    def paths(self, train: bool) -> list[str]:
        """Image file of each index of a data set."""

    @abc.abstractmethod
    def collate(self, samples: list) -> Any:
        """Make a batch of samples."""

    @abc.abstractmethod
    def with_boxes(self, index: int, num_boxes: int) -> Any:
        """A training sample whose labels were replaced by so many random boxes."""

    @abc.abstractmethod
    def synthetic_batch(self, batch_size: int, num_boxes: int = 3) -> Any:
        """A training batch of random images and boxes."""

    @abc.abstractmethod
    def train_task(
        self, distributed: bool = False, device_ids: list[int] | None = None
    ) -> Callable[[Any], object]:
        """Something that does a whole training step with a batch."""

    @abc.abstractmethod
    def loss_task(self, batch: Any) -> Callable[[], object]:
        """Assignment, loss and its backward down to the head's outputs, for one batch."""

    @abc.abstractmethod
    def predict(self, batch: Any) -> object:
        """Predict a batch of test samples."""

    @abc.abstractmethod
    def calibrate(self, batch: Any) -> None:
        """Shift the background's bias until :data:`CANDIDATES_FOR_NMS` pairs an image pass."""

    @abc.abstractmethod
    def variant(
        self, input_size: int | None = None, num_classes: int | None = None
    ) -> CandidateState:
        """The same at another size or with other classes; raises ``CannotVaryError``."""

    # What follows from that -------------------------------------------------

    def order(self, train: bool) -> list[int]:
        """Indices to use, the same images in the same order for all candidates.

        Args:
            train (bool): Of the training set, else of the test set.

        Returns:
            list[int]: Indices of the candidate's own data set.
        """
        paths = self.paths(train)
        shared = self.shared[train]
        if shared is None:
            return list(range(min(len(paths), self.settings.images)))
        index = {Path(path).name: i for i, path in enumerate(paths)}
        return [index[name] for name in shared]

    def batch(self, batch_size: int, train: bool = True) -> Any:
        """Load a batch with the candidate's pipeline.

        Args:
            batch_size (int): Images.
            train (bool): Of the training set, else of the test set. Defaults to True.

        Returns:
            Any: As a data loader hands it over.
        """
        order, dataset = self.order(train), self.train_dataset if train else self.test_dataset
        return self.collate([dataset[order[i % len(order)]] for i in range(batch_size)])

    def loader(self, train: bool, batch_size: int, counted: int) -> BlockLoader:
        """A data loader that is timed in blocks.

        Args:
            train (bool): Of the training set, else of the test set.
            batch_size (int): Images.
            counted (int): Batches of a block that are timed.

        Returns:
            BlockLoader: With the settings' number of workers.
        """
        return BlockLoader(
            self.train_dataset if train else self.test_dataset,
            self.order(train),
            self.collate,
            batch_size,
            self.settings.num_workers,
            counted,
            seed=self.settings.seed,
        )

    keeps_memory = False
    """Whether its training keeps freed memory, see ``KeepMemoryHook``."""

    _memory_changes = 0  # of all candidates of this process

    def use_memory(self) -> bool:
        """Set the C library to what the candidate's own training has.

        Returns:
            bool: Whether memory was given back since the candidate ran last, for another one that
                does not keep it: then it has to be fetched again once.
        """
        if memory_is_kept() is not self.keeps_memory and keep_freed_memory(self.keeps_memory):
            CandidateState._memory_changes += 1
        is_new = self._memory_seen != CandidateState._memory_changes
        self._memory_seen = CandidateState._memory_changes
        return is_new

    def release(self) -> None:
        """Let go of the model, and of its memory."""
        self.__dict__.pop('model', None)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def background_shift(
    logits: torch.Tensor, background: int, threshold: float, wanted: float
) -> float:
    """What to add to the background's logit so that so many scores pass a threshold.

    Args:
        logits (Tensor): (n, classes), background among them.
        background (int): Its channel.
        threshold (float): Least score.
        wanted (float): Scores of the other classes that shall reach it.

    Returns:
        float: The shift, found by bisection in -50..50.

    Example:
        >>> logits = torch.randn(1000, 4, generator=torch.Generator().manual_seed(0))
        >>> logits[:, 3] += background_shift(logits, 3, 0.1, wanted=50)
        >>> int((logits.softmax(1)[:, :3] > 0.1).sum())
        50
    """
    low, high = -50.0, 50.0
    logits = logits.double()
    others = [c for c in range(logits.shape[1]) if c != background]
    for _ in range(40):
        middle = (low + high) / 2
        shifted = logits.clone()
        shifted[:, background] += middle
        if (shifted.softmax(1)[:, others] > threshold).sum() > wanted:
            low = middle
        else:
            high = middle
    return high


def names_in_common(candidates: Sequence[CandidateState], train: bool) -> list[str]:
    """Images that all candidates have, drawn by the settings' seed.

    Args:
        candidates (Sequence[CandidateState]): Whose data sets.
        train (bool): Of the training sets, else of the test sets.

    Returns:
        list[str]: Basenames; empty if they have none in common.
    """
    names = [{Path(path).name for path in c.paths(train)} for c in candidates]
    found = sorted(set.intersection(*names)) if names else []
    if not found:
        return []
    settings = candidates[0].settings
    generator = torch.Generator().manual_seed(settings.seed)
    drawn = torch.randperm(len(found), generator=generator)[: settings.images]
    return [found[i] for i in drawn.tolist()]
