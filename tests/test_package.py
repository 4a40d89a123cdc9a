# SPDX-License-Identifier: Apache-2.0
"""Importing the package: registration, versions, examples in docstrings."""

import doctest
import importlib
import pkgutil
import subprocess
import sys

import pytest
import torchvision_stub
from mmdet.registry import HOOKS, MODELS, TASK_UTILS, TRANSFORMS
from mmengine.logging import MMLogger

import mmdet_mobilenext
from mmdet_mobilenext.version import check_versions

NAMES = {
    MODELS: ['MobileNeXt', 'SSDLiteNeck', 'SSDLiteHead', 'SearchedCells'],
    TASK_UTILS: ['SSDLitePriorGenerator'],
    TRANSFORMS: ['DropDifficult', 'SSDPhotoMetricDistortion', 'SSDRandomCrop'],
    HOOKS: ['RunHeaderHook', 'NonFiniteLossHook', 'MemoryFormatHook', 'StrictLoadHook'],
}


def test_everything_is_registered():
    for registry, names in NAMES.items():
        for name in names:
            assert registry.get(name) is not None, name


def test_importing_twice_is_no_error():
    """Also under a second path, which registers every class once more."""
    code = (
        'import sys, mmdet_mobilenext\n'
        'for name in [n for n in sys.modules if n.startswith("mmdet_mobilenext")]:\n'
        '    del sys.modules[name]\n'
        'import mmdet_mobilenext\n'
        'from mmdet.registry import MODELS\n'
        'MODELS.build(dict(type="MobileNeXt", widen_factor=0.1))\n'
        'print("ok")'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stdout.strip().endswith('ok'), done.stderr


GOOD = dict(mmcv='2.1.0', mmengine='0.10.7', mmdet='3.3.0')


@pytest.mark.parametrize('found', [GOOD, dict(mmcv='2.3.6', mmengine='0.10.12', mmdet='3.5.1')])
def test_both_lines_are_welcome(found):
    check_versions(found)


@pytest.mark.parametrize(
    ('name', 'version'),
    [('mmcv', '1.7.2'), ('mmengine', '0.8.0'), ('mmdet', '2.28.2'), ('mmdet', '4.0.0')],
)
def test_other_versions_are_named(name, version):
    with pytest.raises(ImportError, match=f'needs {name} >= .* but found {name} {version}'):
        check_versions({**GOOD, name: version})


def test_mmcv_without_ops_is_named():
    code = 'import sys\nsys.modules["mmcv._ext"] = None\nimport mmdet_mobilenext'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode != 0
    assert 'without its compiled operators' in done.stderr.splitlines()[-1]


def modules():
    torchvision_stub.import_mmpretrain()  # mmdet_mobilenext.classification needs it
    return sorted(
        m.name for m in pkgutil.walk_packages(mmdet_mobilenext.__path__, 'mmdet_mobilenext.')
    )


@pytest.mark.parametrize('name', modules())
def test_examples_in_docstrings_run(name):
    module = importlib.import_module(name)
    MMLogger.get_current_instance()  # made here, it does not write into what the examples print
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0
