# SPDX-License-Identifier: Apache-2.0
"""A small generated set and the config that reads it, once for all tests of this folder."""

from pathlib import Path

import pytest
from mmengine.config import Config
from small_voc import ROOT, make_small_voc

from mmdet_mobilenext.analysis.detectors import read_config

DEMO = str(ROOT / 'configs/ssdlite_mobilenext_demo.py')


@pytest.fixture(scope='session')
def voc(tmp_path_factory) -> Path:
    """The set."""
    return make_small_voc(tmp_path_factory.mktemp('analysis') / 'voc')


@pytest.fixture
def demo(voc) -> Config:
    """The demo config with this set."""
    return read_config(DEMO, {'data_root': str(voc)})
