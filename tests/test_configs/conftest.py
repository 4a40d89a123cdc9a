# SPDX-License-Identifier: Apache-2.0
"""Configs, each read once."""

import copy
import functools

import mmengine.config.utils
import pytest
from mmengine.config import Config


@pytest.fixture(scope='session', autouse=True)
def _read_the_metafiles_once():
    """Without this mmengine reads all of MMDetection's for every ``mmdet::``."""
    with pytest.MonkeyPatch.context() as patch:
        load = functools.cache(mmengine.config.utils.load)
        patch.setattr(mmengine.config.utils, 'load', load)
        yield


@functools.cache
def _load(path):
    return Config.fromfile(path)


@pytest.fixture(scope='session')
def load(configs):
    """A config by its path below ``configs/``."""
    return lambda name: copy.deepcopy(_load(configs / name))
