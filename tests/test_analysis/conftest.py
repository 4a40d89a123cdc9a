# SPDX-License-Identifier: Apache-2.0
"""A small generated set and the config that reads it, once for all tests of this folder."""

from pathlib import Path

import pytest
from mmengine.config import Config
from small_voc import ROOT, make_small_voc

from mmdet_mobilenext.engine.config import load_config

DEMO = str(ROOT / 'configs/ssdlite_mobilenext_demo.py')


@pytest.fixture(scope='session')
def voc(tmp_path_factory) -> Path:
    """The set, with a difficult object in each training image of several."""
    root = make_small_voc(tmp_path_factory.mktemp('analysis') / 'voc') / 'VOC2007'
    for name in (root / 'ImageSets/Main/train.txt').read_text().split():
        path = root / f'Annotations/{name}.xml'
        text = path.read_text()
        if text.count('<object>') > 1:
            path.write_text(text.replace('<difficult>0<', '<difficult>1<', 1))
    return root.parent


@pytest.fixture
def demo(voc) -> Config:
    """The demo config with this set."""
    return load_config(DEMO, {'data_root': str(voc)})
