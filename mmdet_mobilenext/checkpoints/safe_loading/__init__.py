# SPDX-License-Identifier: Apache-2.0
"""Read checkpoints without running code that is stored in them.

A checkpoint is a pickle, and a pickle may name any Python callable. mmengine either cannot read its
own checkpoints under ``torch.load``'s safe mode or quietly leaves that mode when it fails. The
functions here always stay in it, with stand-ins for the few objects that mmengine's message hub
puts into a checkpoint, and :func:`install_safe_loaders` makes mmengine use them for every scheme.

PaddlePaddle's files, which ``torch.load`` cannot read, are read by :func:`load_numpy_pickle`.

What this does not cover: pickles that are not checkpoints, that is files given to
``mmengine.load('*.pkl')``, data exchanged between the ranks of one run, MMDetection's own scripts
for converting and publishing models, and the FlexibleRunner strategies of DeepSpeed and ColossalAI.
"""

from .download import fetch_checkpoint
from .errors import CheckpointFileError, UnsafeCheckpointError
from .numpy_pickle import load_numpy_pickle
from .opt_in import (
    ALLOW_UNSAFE_FLAG,
    ALLOW_UNSAFE_VARIABLE,
    allow_unsafe_checkpoints,
    unsafe_checkpoints_allowed,
)
from .reader import load_safely
from .schemes import (
    install_safe_loaders,
    load_from_ceph,
    load_from_http,
    load_from_local,
    load_from_mmcls,
    load_from_openmmlab,
    load_from_pavi,
    load_from_torchvision,
)

__all__ = [
    'ALLOW_UNSAFE_FLAG',
    'ALLOW_UNSAFE_VARIABLE',
    'CheckpointFileError',
    'UnsafeCheckpointError',
    'allow_unsafe_checkpoints',
    'fetch_checkpoint',
    'install_safe_loaders',
    'load_from_ceph',
    'load_from_http',
    'load_from_local',
    'load_from_mmcls',
    'load_from_openmmlab',
    'load_from_pavi',
    'load_from_torchvision',
    'load_numpy_pickle',
    'load_safely',
    'unsafe_checkpoints_allowed',
]
