# SPDX-License-Identifier: Apache-2.0
"""The loop of a search, and hooks that write what it has found and what it took."""

from __future__ import annotations

import os.path as osp
import time
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, LOOPS
from mmengine.runner import EpochBasedTrainLoop, Runner, set_random_seed
from torch.utils.data import DataLoader

from .genotype import write_genotype

__all__ = ['DartsTrainLoop', 'GenotypeHook', 'TrainingTimeHook', 'seconds']

GENOTYPE_FILE = 'genotype.json'
"""File in the work directory with what was found so far."""


def seconds() -> float:
    """A clock of work: seconds of this process on the CPU, whatever else the machine does; with a
    GPU, for which the CPU only waits, seconds of the day.

    Returns:
        float: Seconds since some moment.

    Example:
        >>> start = seconds()
        >>> seconds() >= start
        True
    """
    return time.perf_counter() if torch.cuda.is_available() else time.process_time()


@LOOPS.register_module(force=True)
class DartsTrainLoop(EpochBasedTrainLoop):
    """mmengine's loop of epochs that hands two batches to each step.

    Args:
        runner (Runner): The runner.
        dataloader (dict): Config of the images for the weights of the network; an epoch is once
            through them.
        architecture_dataloader (dict): What is different for the images for the weights of the
            operations, such as ``dict(dataset=dict(ann_file=...))``; none of the other images may
            be among them. Begun again when it is at its end.
        max_epochs (int): Epochs.
        **kwargs: Other arguments of ``EpochBasedTrainLoop``.

    Raises:
        ValueError: If nothing is different, the two share images, or one has no whole batch.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: dict,
        architecture_dataloader: dict,
        max_epochs: int,
        **kwargs: Any,
    ) -> None:
        other = Config._merge_a_into_b(architecture_dataloader, dataloader)
        if other == dataloader:
            raise ValueError(
                'the images for the weights of the operations must not be those for the weights of '
                'the network, but architecture_dataloader changes nothing: name another ann_file'
            )
        super().__init__(runner, dataloader, max_epochs, **kwargs)
        self.architecture_dataloader = runner.build_dataloader(other, seed=runner.seed)
        for name in ('dataloader', 'architecture_dataloader'):
            loader = getattr(self, name)
            if not len(loader):
                raise ValueError(
                    f'the {name} of the search has {len(loader.dataset)} images, which is no whole '
                    f'batch of {loader.batch_size}'
                )
        shared = len(_images(self.dataloader) & _images(self.architecture_dataloader))
        if shared:
            raise ValueError(
                'the images for the weights of the operations must not be those for the weights of '
                f'the network, but {shared} are in both: name lists of different images as ann_file'
            )
        self._rounds = 0

    def run_epoch(self) -> None:
        """Iterate one epoch; each starts the images of the architecture anew and seeds random crops
        and flips by seed and epoch, so that a resumed search sees what one that was never stopped
        would have seen (with workers only if these are not persistent).
        """
        seeds = np.random.SeedSequence([self.runner.seed, self.epoch])
        set_random_seed(int(seeds.generate_state(1)[0]))
        self._rounds = self.epoch * (1 + len(self.dataloader) // len(self.architecture_dataloader))
        self._architecture_batches = self._begin()
        super().run_epoch()

    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Iterate one pair of batches.

        Args:
            idx (int): Index of the batch in the epoch.
            data_batch (Any): Batch for the weights of the network.
        """
        batch = next(self._architecture_batches, None)
        if batch is None:
            self._architecture_batches = self._begin()
            batch = next(self._architecture_batches)
        super().run_iter(idx, dict(weights=data_batch, architecture=batch))

    def _begin(self) -> Any:
        sampler = self.architecture_dataloader.sampler
        if hasattr(sampler, 'set_epoch'):
            sampler.set_epoch(self._rounds)
        self._rounds += 1
        return iter(self.architecture_dataloader)


def _images(loader: DataLoader) -> set[str]:
    dataset = loader.dataset
    return {dataset.get_data_info(index)['img_path'] for index in range(len(dataset))}


@HOOKS.register_module(force=True)
class GenotypeHook(Hook):
    """Write ``genotype.json`` to the work directory after every epoch, whole or not at all, and log
    the cells.

    Example:
        >>> GenotypeHook().priority
        'NORMAL'
    """

    def after_train_epoch(self, runner: Runner) -> None:
        """Write and log what the present weights of the operations stand for.

        Args:
            runner (Runner): The runner of a search.
        """
        model = runner.model
        genotype = model.genotype()
        write_genotype(
            genotype,
            osp.join(runner.work_dir, GENOTYPE_FILE),
            method='darts',
            order=model.order,
            cost_weight=model.cost_weight,
            operations=list(model.backbone.operations),
            seed=runner.seed,
            epoch=runner.epoch + 1,
        )
        runner.logger.info(f'epoch {runner.epoch + 1} stands for\n{genotype}')


@HOOKS.register_module(force=True)
class TrainingTimeHook(Hook):
    """Add up the seconds of training, over kills and resumes, in the message hub as
    ``training_seconds``. What a kill has undone does not count.

    Example:
        >>> TrainingTimeHook().priority
        'HIGH'
    """

    # before the checkpoint is written
    priority = 'HIGH'

    def before_train(self, runner: Runner) -> None:
        """Start, or go on.

        Args:
            runner (Runner): The runner.
        """
        self._before = runner.message_hub.get_info('training_seconds', 0.0)
        self._start = seconds()

    def after_train_epoch(self, runner: Runner) -> None:
        """Note the seconds so far.

        Args:
            runner (Runner): The runner.
        """
        spent = self._before + seconds() - self._start
        runner.message_hub.update_info('training_seconds', spent)
