# SPDX-License-Identifier: Apache-2.0
"""Fixtures that all tests share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Before torch is loaded: see tools/train.py.
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')
if 'PYTEST_XDIST_WORKER' in os.environ:  # a core for each process of the tests
    os.environ.setdefault('OMP_NUM_THREADS', '1')

import pytest
import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import init_default_scope
from mmengine.visualization import Visualizer

import mmdet_mobilenext  # noqa: F401

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'tests'))


@pytest.fixture(autouse=True, scope='session')
def _default_scope():
    """mmdet's registries, also for fixtures of modules."""
    init_default_scope('mmdet')


@pytest.fixture(autouse=True)
def _same_every_time():
    """One seed and one scope for every test, and nothing that mmengine keeps of another.

    mmengine's hooks draw with the visualizer that was made last, and a runner takes one that is
    there under its name, with the folder of the run that made it. Each subclass keeps its own.
    A logger may write to a stream that was closed with its test; runs of one second share a hub.
    """
    kinds = [Visualizer, MMLogger, MessageHub]
    for kind in kinds:
        kind._instance_dict.clear()
        kinds += kind.__subclasses__()
    torch.manual_seed(0)
    init_default_scope('mmdet')


@pytest.fixture(scope='session')
def small_detector(tmp_path_factory) -> tuple[str, str]:
    """Config and checkpoint of :func:`small_export.make_detector`, with 3 and 7 images to test."""
    from small_export import make_detector
    from small_voc import make_small_voc

    voc = make_small_voc(tmp_path_factory.mktemp('voc'), train=2, val=3, test=7)
    return make_detector(tmp_path_factory.mktemp('detector'), voc)


@pytest.fixture(scope='session')
def small_onnx(small_detector) -> str:
    """What was exported of it."""
    for package in ('onnx', 'onnxscript', 'onnxruntime'):
        pytest.importorskip(package)
    from small_export import export_small

    return export_small(small_detector, 'small.onnx')


@pytest.fixture(scope='session')
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope='session')
def configs() -> Path:
    """The configs of the checkout."""
    return ROOT / 'configs'
