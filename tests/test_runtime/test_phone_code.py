# SPDX-License-Identifier: Apache-2.0
"""The C++ code of docs/phone.md: compiled, and compared with the Python runtime."""

import re
import subprocess
import textwrap

import cv2
import numpy as np
import pytest
from small_ncnn import make_checkpoint

from mmdet_mobilenext.datasets.generated_voc import generate_voc
from mmdet_mobilenext.export import export
from mmdet_mobilenext.runtime import Detector

FILES = ['detector.h', 'detector.cpp', 'main.cpp', 'CMakeLists.txt']


def code_of(text):
    """Contents of the files that a page shows, by their names."""
    blocks = [textwrap.dedent(m[2]) for m in re.finditer(r'(?ms)^( *)```\w+\n(.*?)^ *```', text)]
    named = [(re.match(r'(?://|#) (\S+\.(?:h|cpp|txt))\n', block), block) for block in blocks]
    return {match[1]: block for match, block in named if match}


def test_the_page_has_all_files(root):
    assert sorted(code_of((root / 'docs/phone.md').read_text())) == sorted(
        [*FILES, 'detector_jni.cpp']
    )


@pytest.fixture(scope='module')
def program(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp('phone')
    code = code_of((root / 'docs/phone.md').read_text())
    for name in FILES:
        (folder / name).write_text(code[name])
    try:
        found = subprocess.run(
            ['cmake', '-B', 'build', '-S', '.', '-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror'],
            cwd=folder,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        pytest.skip('there is no cmake')
    if 'Could not find a package configuration file provided by "ncnn"' in found.stderr:
        pytest.skip('there is no ncnn for C++: set ncnn_DIR to its lib/cmake/ncnn')
    assert found.returncode == 0, found.stderr
    built = subprocess.run(
        ['cmake', '--build', 'build'], cwd=folder, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / 'build' / 'detect'


@pytest.mark.slow
def test_it_finds_what_the_python_runtime_finds(program, configs, tmp_path):
    config = configs / 'ssdlite_mobilenext_demo.py'
    checkpoint = make_checkpoint(config, tmp_path / 'weights.pth')
    path = export(str(config), str(checkpoint), tmp_path / 'small.param')
    detector = Detector(path, score_thr=0.3)
    voc = generate_voc(
        tmp_path / 'voc', splits=dict(train=1, val=1, test=4), num_workers=0, progress=False
    )
    compared = 0
    for file in sorted(voc.rglob('*.jpg')):
        cv2.imwrite(str(tmp_path / 'image.ppm'), cv2.imread(str(file)))
        done = subprocess.run(
            [program, path, path.with_suffix('.bin'), '128', '0.3', tmp_path / 'image.ppm'],
            capture_output=True,
            text=True,
            check=True,
        )
        found = np.array([line.split() for line in done.stdout.splitlines()], float).reshape(-1, 6)
        boxes, scores, labels = detector(file)
        assert found[:, 0].tolist() == labels.tolist()
        np.testing.assert_allclose(found[:, 1], scores, atol=1e-3)
        np.testing.assert_allclose(found[:, 2:], boxes, atol=0.5)
        compared += len(labels)
    assert compared > 20


@pytest.mark.slow
def test_the_program_says_what_is_wrong(program, tmp_path):
    done = subprocess.run([program], capture_output=True, text=True)
    assert done.returncode == 2 and 'usage' in done.stderr
    command = [program, tmp_path / 'x.param', tmp_path / 'x.bin', '128', '0.3', tmp_path / 'x.ppm']
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and 'x.param cannot be loaded' in done.stderr
