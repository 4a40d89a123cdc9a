# SPDX-License-Identifier: Apache-2.0
"""Stop a run whose loss is lost."""

import math

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

__all__ = ['NonFiniteLossError', 'NonFiniteLossHook']


class NonFiniteLossError(RuntimeError):
    """A loss became NaN or infinite."""


@HOOKS.register_module(force=True)
class NonFiniteLossHook(Hook):
    """Stop with an error at the first NaN or infinite loss.

    mmengine's ``CheckInvalidLossHook`` looks every 50 iterations and says
    neither which loss it was nor at which learning rate. This one runs before
    the checkpoint hook, which in turn refuses weights that are not finite.

    Args:
        interval (int): Look every so many iterations. Reading a loss costs a
            synchronization on GPUs, but mmengine's logging does so at every
            iteration anyway. Defaults to 1.

    Example:
        >>> NonFiniteLossHook(interval=1).interval
        1
    """

    priority = 'VERY_HIGH'

    def __init__(self, interval: int = 1) -> None:
        if interval < 1:
            raise ValueError(f'interval must be at least 1, but received {interval}')
        self.interval = interval

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Look at the losses of the iteration.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Index of the batch in the loop.
            data_batch (dict, optional): The batch.
            outputs (dict, optional): Losses by name.

        Raises:
            NonFiniteLossError: If a loss is NaN or infinite.
        """
        if not outputs or not self.every_n_inner_iters(batch_idx, self.interval):
            return
        values = {
            name: float(value.detach() if torch.is_tensor(value) else value)
            for name, value in outputs.items()
            if 'loss' in name and (isinstance(value, float) or torch.is_tensor(value))
        }
        if all(math.isfinite(value) for value in values.values()):
            return
        lr = next(iter(runner.optim_wrapper.get_lr().values()))[0]
        losses = ', '.join(f'{name} {value:g}' for name, value in values.items())
        raise NonFiniteLossError(
            f'the loss is not finite at iteration {runner.iter + 1} of {runner.max_iters} '
            f'(learning rate {lr:.3g}): {losses}. Nothing of this iteration was saved. Lower the '
            'learning rate or lengthen the warm-up, and see that the rate fits the batch size '
            '(--auto-scale-lr)'
        )
