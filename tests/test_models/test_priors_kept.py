# SPDX-License-Identifier: Apache-2.0
"""Priors are made once, and what is kept harms nobody."""

import copy
import pickle

import pytest
import torch

from mmdet_mobilenext.models import SSDLitePriorGenerator
from mmdet_mobilenext.models.priors import SSDAnchorGenerator

SIZES = [(4, 4), (2, 2)]


@pytest.fixture
def generator():
    return SSDLitePriorGenerator([16, 32], [20, 34], [34, 48], [[2, 3], [2]], input_size=64)


@pytest.fixture
def made(monkeypatch):
    """Counts how often priors are made."""
    calls = []
    original = SSDAnchorGenerator.grid_priors

    def counted(self, sizes, *args, **kwargs):
        calls.append([tuple(s) for s in sizes])
        return original(self, sizes, *args, **kwargs)

    monkeypatch.setattr(SSDAnchorGenerator, 'grid_priors', counted)
    return calls


def test_made_once_for_each_size_dtype_and_device(generator, made):
    first = generator.grid_priors(SIZES, device='cpu')
    again = generator.grid_priors([torch.Size(s) for s in SIZES], device=torch.device('cpu'))
    assert len(made) == 1
    assert [tuple(p.shape) for p in again] == [(96, 4), (16, 4)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert generator.grid_priors(SIZES, torch.float64, 'cpu')[0].dtype == torch.float64
    assert generator.grid_priors(SIZES, device='meta')[0].is_meta
    assert len(generator.grid_priors([(2, 4), (1, 2)], device='cpu')[0]) == 48
    assert len(made) == 4


def test_equal_the_priors_of_each_level(generator):
    for _ in range(2):
        for level, priors in enumerate(generator.grid_priors(SIZES, device='cpu')):
            expected = generator.single_level_grid_priors(SIZES[level], level, device='cpu')
            assert torch.equal(priors, expected)


def test_caller_may_change_them(generator):
    priors = generator.grid_priors(SIZES, device='cpu')
    expected = [p.clone() for p in priors]
    for changed in priors:
        changed.mul_(3)
    for p, q in zip(generator.grid_priors(SIZES, device='cpu'), expected, strict=True):
        assert torch.equal(p, q)


def test_bounded(generator):
    for height in range(1, 20):
        generator.grid_priors([(height, 1), (1, 1)], device='cpu')
    assert len(generator._grids) == generator.MAX_GRIDS


@pytest.mark.parametrize('duplicate', [copy.deepcopy, lambda g: pickle.loads(pickle.dumps(g))])
def test_copies_make_their_own(generator, duplicate):
    expected = generator.grid_priors(SIZES, device='cpu')
    twin = duplicate(generator)
    assert generator._grids and not twin._grids
    for p, q in zip(twin.grid_priors(SIZES, device='cpu'), expected, strict=True):
        assert torch.equal(p, q)
    generator._grids.clear()
    assert twin._grids


def test_training_after_inference_mode(generator):
    with torch.inference_mode():
        generator.grid_priors(SIZES, device='cpu')
    assert not any(kept.is_inference() for kept in generator._grids.values())
    (priors, _) = generator.grid_priors(SIZES, device='cpu')
    scale = torch.ones(1, requires_grad=True)
    (priors * scale).sum().backward()  # saves the priors for backward
    assert scale.grad.item() == pytest.approx(priors.sum().item(), rel=1e-5)


class Shifted(torch.nn.Module):
    def __init__(self, generator):
        super().__init__()
        self.generator = generator

    def forward(self, x):
        sizes = [tuple(x.shape[-2:]), (2, 2)]
        return x.sum() + torch.cat(self.generator.grid_priors(sizes, device=x.device))


@pytest.mark.parametrize('warm', [False, True])
@pytest.mark.parametrize('how', ['export', 'trace'])
def test_traced_graphs_hold_the_right_priors(generator, how, warm):
    x = torch.rand(1, 1, 4, 4)
    expected = x.sum() + torch.cat(SSDAnchorGenerator.grid_priors(generator, SIZES, device='cpu'))
    if warm:
        generator.grid_priors(SIZES, device='cpu')
    kept = dict(generator._grids)
    if how == 'export':
        graph = torch.export.export(Shifted(generator), (x,), strict=False).module()
    else:
        graph = torch.jit.trace(Shifted(generator), (x,), check_trace=False)
    assert torch.equal(graph(x), expected)
    assert generator._grids == kept
    assert torch.equal(Shifted(generator)(x), expected)


def test_not_in_the_state_dict(generator):
    generator.grid_priors(SIZES, device='cpu')
    assert not Shifted(generator).state_dict()
