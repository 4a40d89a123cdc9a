# SPDX-License-Identifier: Apache-2.0
"""channels_last where it is faster."""

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

__all__ = ['MemoryFormatHook', 'to_channels_last', 'wants_channels_last']


def to_channels_last(model: torch.nn.Module) -> torch.nn.Module:
    """Lay out all 4-d weights in channels_last; convolutions then produce
    channels_last activations from any input.

    Args:
        model (nn.Module): Changed in place.

    Returns:
        nn.Module: The same model.

    Example:
        >>> conv = to_channels_last(torch.nn.Conv2d(4, 8, 3))
        >>> conv.weight.is_contiguous(memory_format=torch.channels_last)
        True
    """
    return model.to(memory_format=torch.channels_last)


def wants_channels_last(
    setting: bool | str, model: torch.nn.Module, mixed_precision: bool = False
) -> bool:
    """Whether a model shall be laid out in channels_last.

    Args:
        setting (bool | str): That of :class:`MemoryFormatHook`.
        model (nn.Module): On the device that it will run on.
        mixed_precision (bool): Whether it runs under mixed precision. Defaults to False.

    Returns:
        bool: ``setting``; for ``'auto'`` True on the CPU and under mixed precision.

    Example:
        >>> wants_channels_last('auto', torch.nn.Conv2d(4, 8, 3))
        True
    """
    if setting == 'auto':
        return next(model.parameters()).device.type == 'cpu' or mixed_precision
    return bool(setting)


@HOOKS.register_module(force=True)
class MemoryFormatHook(Hook):
    """Run the model in channels_last memory format.

    Args:
        channels_last (bool | str): True, False, or ``'auto'``: on the CPU,
            where depthwise and pointwise convolutions are measurably faster
            (README, Speed), and on GPUs under mixed
            precision, whose kernels want it. Defaults to ``'auto'``.

    Raises:
        ValueError: For another value.

    Example:
        >>> MemoryFormatHook(channels_last=False).channels_last
        False
    """

    # After weights are loaded, before anything runs.
    priority = 'VERY_LOW'

    def __init__(self, channels_last: bool | str = 'auto') -> None:
        if channels_last not in (True, False, 'auto'):
            raise ValueError(
                f"channels_last must be True, False or 'auto', but received {channels_last!r}"
            )
        self.channels_last = channels_last

    def _apply(self, runner: Runner) -> bool:
        amp = type(runner.optim_wrapper).__name__ == 'AmpOptimWrapper'
        wanted = wants_channels_last(self.channels_last, runner.model, amp)
        if wanted:
            to_channels_last(runner.model)
        return wanted

    def before_train(self, runner: Runner) -> None:
        """Lay out the weights, and with them the optimizer's state, before training."""
        if self._apply(runner):
            # A resumed state may come from a run with another layout, which
            # fused optimizers do not look at.
            optimizer = getattr(runner.optim_wrapper, 'optimizer', None)
            for state in optimizer.state.values() if optimizer else ():
                for name, value in state.items():
                    if torch.is_tensor(value) and value.dim() == 4:
                        state[name] = value.contiguous(memory_format=torch.channels_last)

    def before_val(self, runner: Runner) -> None:
        """Lay out the weights before a validation without training."""
        self._apply(runner)

    def before_test(self, runner: Runner) -> None:
        """Lay out the weights before testing."""
        self._apply(runner)
