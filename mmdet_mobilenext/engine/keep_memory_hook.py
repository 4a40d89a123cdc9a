# SPDX-License-Identifier: Apache-2.0
"""Freed memory kept for the next step, instead of given back to the system each time."""

from __future__ import annotations

import ctypes
import functools
import os
import platform

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from .config import hooks_of_type

__all__ = [
    'KeepMemoryHook',
    'keep_freed_memory',
    'keep_gradients',
    'keeps_memory',
    'memory_is_kept',
    'separate_large_blocks',
]

# Parameters of mallopt, from glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -2, -3, -4

# -1 switches trimming off.
KEEP = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1, M_TOP_PAD: 16 << 20}
# Each large block on its own, with the small ones next to each other.
SEPARATE = {M_MMAP_MAX: 1 << 20, M_MMAP_THRESHOLD: 128 << 10}
# Where glibc's own thresholds end up once a program has freed a large block.
GIVE_BACK = {
    M_MMAP_MAX: 65536,
    M_MMAP_THRESHOLD: 32 << 20,
    M_TRIM_THRESHOLD: 64 << 20,
    M_TOP_PAD: 128 << 10,
}


_kept: bool | None = None
_watches_forks = False


def _mallopt(values: dict[int, int], kept: bool) -> bool:
    global _kept, _watches_forks
    if platform.libc_ver()[0] != 'glibc':
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, 'mallopt') or not all([libc.mallopt(k, v) for k, v in values.items()]):
        return False
    _kept = kept
    if not _watches_forks:
        # Data loader workers handle small blocks, for which glibc's own way is best.
        os.register_at_fork(after_in_child=lambda: _mallopt(GIVE_BACK, False))
        _watches_forks = True
    return True


def memory_is_kept() -> bool | None:
    """What was set last in this process.

    Returns:
        bool | None: Whether freed memory is kept; None if nothing was set.

    Example:
        >>> _ = keep_freed_memory(False)
        >>> memory_is_kept() in (False, None)
        True
    """
    return _kept


def keep_freed_memory(keep: bool = True) -> bool:
    """Let the C library keep freed memory for later tensors, or give it back.

    By default glibc asks the system for each block above 32 MiB anew and gives
    it back when it is freed. The activations of a training step on a CPU are
    such blocks, and the system clears every page before it hands it out: about
    half of the time of a step.

    Args:
        keep (bool): Keep it, or do as glibc does by default, giving back what
            is kept now. Defaults to True.

    Returns:
        bool: Whether that was possible: with glibc, on Linux.

    Example:
        >>> keep_freed_memory() == keep_freed_memory(False)
        True
    """
    if keep:
        return _mallopt(KEEP, True)
    done = _mallopt(GIVE_BACK, False)
    if done:
        ctypes.CDLL(None).malloc_trim(0)
    return done


def separate_large_blocks() -> bool:
    """Place large blocks apart from small ones, as long as memory is not kept.

    What a run allocates in its first steps and never frees (gradients, momentum,
    prepared convolutions) else ends up between large blocks, and holes that it
    splits are too small for large blocks later: a fifth more memory at the peak.

    Returns:
        bool: Whether that was possible, see :func:`keep_freed_memory`.

    Example:
        >>> separate_large_blocks() == keep_freed_memory(False)
        True
    """
    return _mallopt(SEPARATE, False)


def keeps_memory(cfg: Config) -> bool:
    """Whether a run of this config keeps freed memory on this machine.

    Args:
        cfg (Config): Config of a run.

    Returns:
        bool: It has the hook, and there is no GPU.

    Example:
        >>> keeps_memory(Config(dict(default_hooks=dict())))
        False
    """
    return not torch.cuda.is_available() and bool(hooks_of_type(cfg, 'KeepMemoryHook'))


@HOOKS.register_module(force=True)
class KeepMemoryHook(Hook):
    """Keep freed memory while a run on the CPU lasts, see :func:`keep_freed_memory`.

    In training it begins after ``first_iterations``, until when large blocks
    are placed apart, and gradients keep their place (they are set to zero
    instead of None): so the peak stays near what is in use. Gradients that are
    zero instead of None matter for a parameter that takes part in some steps
    only: weight decay and momentum then go on.

    Data loader workers do as glibc does by default.

    Does nothing on a GPU, whose tensors have PyTorch's caching allocator, and
    where the C library is not glibc.

    Args:
        first_iterations (int): At least 1. Defaults to 2.

    Raises:
        ValueError: If ``first_iterations`` is below 1.

    Example:
        >>> KeepMemoryHook().first_iterations
        2
    """

    priority = 'VERY_HIGH'

    def __init__(self, first_iterations: int = 2) -> None:
        if first_iterations < 1:
            raise ValueError(
                f'first_iterations must be at least 1, but received {first_iterations}'
            )
        self.first_iterations = first_iterations
        self._begun = 0
        self._active = False

    def before_train(self, runner: Runner) -> None:
        """Place large blocks apart and let gradients stay.

        Args:
            runner (Runner): The runner.
        """
        self._begun = 0
        self._active = _is_on_cpu(runner.model) and separate_large_blocks()
        if self._active:
            keep_gradients(runner.optim_wrapper)

    def after_train_iter(self, runner: Runner, batch_idx: int, *args: object, **kwargs: object):
        """Begin to keep memory.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Not used.
            *args (object): Not used.
            **kwargs (object): Not used.
        """
        if not self._active or self._begun > self.first_iterations:
            return
        self._begun += 1
        if self._begun == self.first_iterations:
            keep_freed_memory()
            runner.logger.info('freed memory is kept for later steps (KeepMemoryHook)')

    def before_test(self, runner: Runner) -> None:
        """Keep memory from the start.

        Args:
            runner (Runner): The runner.
        """
        self._active = _is_on_cpu(runner.model) and keep_freed_memory()

    def after_run(self, runner: Runner) -> None:
        """Give back what is kept.

        Args:
            runner (Runner): The runner.
        """
        if self._active:
            keep_freed_memory(False)


def _is_on_cpu(model: nn.Module) -> bool:
    return all(parameter.device.type == 'cpu' for parameter in model.parameters())


def keep_gradients(optim_wrapper: OptimWrapper | OptimWrapperDict) -> None:
    """Set gradients to zero instead of None after each step.

    Args:
        optim_wrapper (OptimWrapper | OptimWrapperDict): Of a runner.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(1))
        >>> wrapper = OptimWrapper(torch.optim.SGD([weight], lr=0.1))
        >>> keep_gradients(wrapper)
        >>> wrapper.update_params((2 * weight).sum())
        >>> weight.grad
        tensor([0.])
    """
    wrappers = (
        optim_wrapper.values() if isinstance(optim_wrapper, OptimWrapperDict) else [optim_wrapper]
    )
    for wrapper in wrappers:
        zero_grad = type(wrapper.optimizer).zero_grad
        wrapper.optimizer.zero_grad = functools.partial(
            zero_grad, wrapper.optimizer, set_to_none=False
        )
