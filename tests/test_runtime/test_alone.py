# SPDX-License-Identifier: Apache-2.0
"""The runtime where PyTorch and MMDetection are not installed, and what a wheel holds."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest

# Python then takes them for packages that are not there.
WITHOUT = 'import sys; sys.modules.update(dict.fromkeys({!r})); sys.path.insert(0, {!r})\n'
OPENMMLAB = ('mmengine', 'mmcv', 'mmdet')


def run_without(names, code, folder, *arguments):
    """The last line that a program prints in a Python without some packages."""
    done = subprocess.run(
        [sys.executable, '-c', WITHOUT.format(tuple(names), str(folder)) + code, *arguments],
        capture_output=True,
        text=True,
        cwd='/',
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


DETECT = """
import numpy as np
from mmdet_mobilenext import Detector
detector = Detector(sys.argv[1], threads=1)
print(detector(np.zeros((48, 64, 3), np.uint8)).records()[0])
"""


@pytest.mark.parametrize('missing', [('torch', *OPENMMLAB), OPENMMLAB, ('mmdet',)])
def test_detector_runs_without_the_rest(missing, constant_model, root):
    found = run_without(missing, DETECT, root, constant_model)
    assert found == "{'label': 'dog', 'score': 0.9, 'box': [16.0, 12.0, 48.0, 36.0]}"


def test_importing_loads_nothing_heavy(root):
    code = (
        'import mmdet_mobilenext.runtime\n'
        "heavy = {'onnxruntime', 'openvino', 'ncnn', 'PIL', 'supervision', 'scipy', 'matplotlib'}\n"
        'print(sorted(heavy & set(sys.modules)))'
    )
    assert run_without(('torch', *OPENMMLAB), code, root) == '[]'


@pytest.mark.parametrize('room', ['runtime', 'demo'])
def test_every_module_can_be_imported(room, root):
    """Also those of the demo, but for the one that runs checkpoints."""
    code = (
        'import importlib, pkgutil\n'
        f'room = importlib.import_module("mmdet_mobilenext.{room}")\n'
        "modules = pkgutil.walk_packages(room.__path__, room.__name__ + '.')\n"
        "names = [m.name for m in modules if not m.name.endswith('.checkpoint_detector')]\n"
        'for name in names:\n'
        '    importlib.import_module(name)\n'
        'print(len(names) > 10)'
    )
    assert run_without(('torch', *OPENMMLAB), code, root) == 'True'


def test_what_is_missing_is_named(root, constant_model):
    code = (
        'import mmdet_mobilenext\n'
        'try:\n'
        '    mmdet_mobilenext.models\n'
        'except AttributeError as error:\n'
        '    print(error)'
    )
    message = run_without(('torch', *OPENMMLAB), code, root)
    assert "has no attribute 'models'" in message
    assert 'there is the runtime alone' in message and 'tools/setup_env.py' in message


@pytest.mark.parametrize(
    ('name', 'package'), [('model.onnx', 'onnxruntime'), ('model.xml', 'openvino')]
)
def test_a_missing_backend_is_named(name, package, root, tmp_path):
    (tmp_path / name).write_bytes(b'something')
    code = (
        'from mmdet_mobilenext.runtime import Detector, RuntimeMissingError\n'
        'try:\n'
        '    Detector(sys.argv[1])\n'
        'except RuntimeMissingError as error:\n'
        '    print(error)'
    )
    message = run_without(('torch', *OPENMMLAB, package), code, root, str(tmp_path / name))
    assert message.endswith(f'there is no {package}: `pip install {package}`')


@pytest.fixture(scope='module')
def wheel(tmp_path_factory, root):
    """A wheel of this checkout, unpacked; made of a copy, since building leaves files behind."""
    folder = tmp_path_factory.mktemp('wheel')
    source = folder / 'source'
    shutil.copytree(
        root,
        source,
        symlinks=True,
        ignore=lambda at, names: [
            name
            for name in names
            if name in ('.git', '__pycache__', 'tests', 'docs', 'build')
            or name.endswith('.egg-info')
            or (at == str(root) and name.startswith('.'))
            or (at == str(root) and name in ('data', 'weights', 'work_dirs', 'outputs'))
        ],
    )
    command = [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation']
    done = subprocess.run(
        [*command, '-w', str(folder), str(source)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(folder.glob('*.whl'))) as file:
        file.extractall(folder / 'installed')
    return folder / 'installed'


def test_wheel_holds_every_module_and_template(wheel, root):
    package = root / 'mmdet_mobilenext'
    wanted = {
        str(path.relative_to(package))
        for path in package.rglob('*')
        if path.is_file() and '__pycache__' not in path.parts and '.mim' not in path.parts
    }
    held = wheel / 'mmdet_mobilenext'
    found = {str(p.relative_to(held)) for p in held.rglob('*') if p.is_file()}
    assert wanted - found == set()
    assert {'.mim/model-index.yml', '.mim/tools/export.py'} <= found


def test_detector_runs_from_the_wheel(wheel, constant_model):
    code = DETECT + 'import mmdet_mobilenext\nprint(mmdet_mobilenext.__file__)'
    found = run_without(('torch', *OPENMMLAB), code, wheel, constant_model)
    assert found == str(wheel / 'mmdet_mobilenext' / '__init__.py')
