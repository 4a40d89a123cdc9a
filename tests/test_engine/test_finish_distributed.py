# SPDX-License-Identifier: Apache-2.0
"""A distributed run leaves no thread of its process group behind."""

import os
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from mmdet_mobilenext.engine.environment import finish_distributed


def group_threads():
    names = [Path(f'/proc/self/task/{task}/comm') for task in os.listdir('/proc/self/task')]
    return [name.read_text().strip() for name in names if 'gloo' in name.read_text()]


def work(rank, store, out):
    torch.set_num_threads(1)
    os.environ['GLOO_SOCKET_IFNAME'] = 'lo'
    dist.init_process_group('gloo', init_method=f'file://{store}', rank=rank, world_size=2)
    ddp = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 2))
    ddp.itself = [ddp]  # a cycle, as a runner and its hooks are
    ddp(torch.ones(1, 2)).sum().backward()
    del ddp
    before = group_threads()
    finish_distributed()
    (out / str(rank)).write_text(f'{len(before) > 0} {group_threads()} {dist.is_initialized()}')


def test_no_thread_outlives_the_group(tmp_path):
    mp.spawn(work, args=(tmp_path / 'store', tmp_path), nprocs=2)
    assert [(tmp_path / rank).read_text() for rank in '01'] == ['True [] False'] * 2


def test_one_process_has_nothing_to_finish():
    finish_distributed()
    assert not dist.is_initialized()
