# SPDX-License-Identifier: Apache-2.0
"""Training and testing: entry points, hooks and checks of the environment."""

from .atomic_checkpoint_hook import AtomicCheckpointHook
from .fold_norm_hook import FoldNormHook
from .initial_weights import InitialWeightsHook
from .keep_memory_hook import KeepMemoryHook
from .memory_format_hook import MemoryFormatHook
from .non_finite_loss_hook import NonFiniteLossError, NonFiniteLossHook
from .picture_hook import PictureHook
from .run_header_hook import RunHeaderHook
from .strict_load_hook import StrictLoadHook

__all__ = [
    'AtomicCheckpointHook',
    'FoldNormHook',
    'InitialWeightsHook',
    'KeepMemoryHook',
    'MemoryFormatHook',
    'NonFiniteLossError',
    'NonFiniteLossHook',
    'PictureHook',
    'RunHeaderHook',
    'StrictLoadHook',
]
