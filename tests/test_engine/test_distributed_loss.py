# SPDX-License-Identifier: Apache-2.0
"""Two gloo processes equal one process with the double batch (norms frozen)."""

import os
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from small_voc import ROOT


def build(variant, sync_num_pos):
    import mmdet_mobilenext  # noqa: F401

    init_default_scope('mmdet')
    cfg = Config.fromfile(ROOT / 'configs' / f'ssdlite_mobilenext_{variant}.py').model
    cfg.backbone.init_cfg = None  # also without ImageNet weights in their place
    cfg.backbone.norm_eval = True
    cfg.bbox_head.sync_num_pos = sync_num_pos
    torch.manual_seed(0)
    detector = MODELS.build(cfg)
    detector.init_weights()
    return detector.eval()  # all norms frozen, those of neck and head too


def batch():
    """Four images with 1, 0, 4 and 3 boxes: positives differ between the processes."""
    from test_models.test_ssdlite import samples

    torch.manual_seed(1)
    made = []
    for count in (1, 0, 4, 3):
        made += samples([(320, 320)], num_boxes=count)
    return torch.rand(4, 3, 320, 320), made


def losses_and_gradient(detector, inputs, data_samples):
    losses = detector.loss(inputs, data_samples)
    sum(losses.values()).backward()
    grads = {n: p.grad for n, p in detector.named_parameters() if p.grad is not None}
    return {k: v.detach() for k, v in losses.items()}, grads


def work(rank, store, variant, sync_num_pos, out):
    torch.set_num_threads(1)
    os.environ['GLOO_SOCKET_IFNAME'] = 'lo'
    dist.init_process_group(
        'gloo',
        init_method=f'file://{store}',
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=120),
    )
    # No find_unused_parameters: a parameter without gradient would hang or raise.
    detector = build(variant, sync_num_pos)
    ddp = torch.nn.parallel.DistributedDataParallel(LossOf(detector))
    inputs, data_samples = batch()
    part = slice(2 * rank, 2 * rank + 2)
    for _step in range(2):  # DDP complains at the second step
        detector.zero_grad()
        losses = ddp(inputs[part], data_samples[part])
        sum(losses.values()).backward()
    means = {}
    for key, value in losses.items():
        mean = value.detach().clone()
        dist.all_reduce(mean)
        means[key] = mean / 2
    if rank == 0:
        grads = {n: p.grad for n, p in detector.named_parameters() if p.grad is not None}
        torch.save(dict(losses=means, grads=grads), out)
    dist.barrier()
    dist.destroy_process_group()


class LossOf(torch.nn.Module):
    """A detector whose forward is its loss, for DDP."""

    def __init__(self, detector):
        super().__init__()
        self.detector = detector

    def forward(self, inputs, data_samples):
        return self.detector.loss(inputs, data_samples)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ('variant', 'sync_num_pos'), [('voc', True), ('voc', False), ('coco', True)]
)
def test_two_processes_equal_one_with_the_double_batch(tmp_path, variant, sync_num_pos):
    """With softmax, and with the focal loss, which also counts what an image without boxes has."""
    out = tmp_path / 'out.pth'
    mp.spawn(work, args=(tmp_path / 'store', variant, sync_num_pos, out), nprocs=2)
    two = torch.load(out)
    detector = build(variant, sync_num_pos)
    losses, grads = losses_and_gradient(detector, *batch())
    equal = [
        two['losses'][key].item() == pytest.approx(value.item(), rel=1e-5)
        for key, value in losses.items()
    ]
    if not sync_num_pos:
        # Each process divides by its own positives, as the authors trained: not the same.
        assert not all(equal)
        return
    assert all(equal)
    assert two['grads'].keys() == grads.keys()
    for name, grad in grads.items():
        torch.testing.assert_close(two['grads'][name], grad, rtol=1e-3, atol=1e-4)
