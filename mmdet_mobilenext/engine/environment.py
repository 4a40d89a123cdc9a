# SPDX-License-Identifier: Apache-2.0
"""What must be true of the machine before a run starts."""

from __future__ import annotations

import gc
import os

import torch
from mmengine.config import Config

__all__ = [
    'EnvironmentCheckError',
    'OptionError',
    'check_environment',
    'finish_distributed',
    'prepare_distributed',
]


class OptionError(ValueError):
    """An option of a tool does not go with the config or another option."""


class EnvironmentCheckError(RuntimeError):
    """The machine cannot do what the run needs."""


def check_environment(cfg: Config) -> None:
    """Check mmcv's operators, mixed precision and SyncBN against the device.

    Args:
        cfg (Config): Config of the run.

    Raises:
        EnvironmentCheckError: If mmcv was built without CUDA on a machine with
            a GPU, or mixed precision, or batch norm over several processes, is asked for
            without one.
    """
    if torch.cuda.is_available():
        from mmcv.ops import get_compiling_cuda_version

        compiled_with = get_compiling_cuda_version()
        if compiled_with == 'not available':
            raise EnvironmentCheckError(
                f'this machine has a GPU ({torch.cuda.get_device_name()}), but mmcv was built '
                'without CUDA operators and would fail in the first NMS: build it again with '
                '`FORCE_CUDA=1 pip install --no-build-isolation --no-cache-dir --force-reinstall '
                '--no-deps onedl-mmcv` (needs nvcc), or hide the GPU with CUDA_VISIBLE_DEVICES='
            )
    elif cfg.get('optim_wrapper', {}).get('type') == 'AmpOptimWrapper':
        raise EnvironmentCheckError(
            'mixed precision (--amp, --with amp_fp16 or amp_bf16) needs a GPU, and this machine '
            'has none: leave it out'
        )
    elif cfg.get('sync_bn') and cfg.get('launcher', 'none') != 'none':
        raise EnvironmentCheckError(
            f'sync_bn={cfg.sync_bn!r} needs GPUs, and this machine has none: leave --with sync_bn '
            'out, or set sync_bn=None'
        )
    if cfg.get('launcher', 'none') == 'pytorch' and 'RANK' not in os.environ:
        raise EnvironmentCheckError(
            '--launcher pytorch needs torchrun: use tools/dist_train.sh or tools/dist_test.sh'
        )


def prepare_distributed(cfg: Config) -> None:
    """Let processes of torchrun work together on CPUs.

    mmengine's launcher sets a CUDA device for each process and hands it to
    DDP, also with the gloo backend. Without GPUs the process group is made
    here, which mmengine then finds, and DDP is told to use no device.

    Args:
        cfg (Config): Config of the run, changed in place.
    """
    if cfg.get('launcher', 'none') != 'pytorch' or torch.cuda.is_available():
        return
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group('gloo')
    wrapper = dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    cfg.model_wrapper_cfg = {**wrapper, **(cfg.get('model_wrapper_cfg') or {}), 'device_ids': None}


def finish_distributed() -> None:
    """Leave the process group, once all processes have got here.

    A process that ends with its group open leaves the group's threads running
    while Python is torn down; one of them may then ask for the interpreter
    and abort a run that had done all its work. Does nothing in a run of one
    process. Only for a run that went well: after an error the others may
    never come to the barrier.

    Example:
        >>> finish_distributed()
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    gc.collect()  # a wrapped model keeps the group alive, and its runner is a cycle
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
