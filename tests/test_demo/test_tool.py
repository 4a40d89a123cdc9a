# SPDX-License-Identifier: Apache-2.0
"""tools/demo.py and tools/analysis/video_soak.py, where torch is not installed."""

from __future__ import annotations

import json
import runpy
import sys

import cv2
import numpy as np
import pytest
from exported_file import make_exported
from small_video import make_video
from without_torch import ROOT, run_tool, run_without_torch


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp('files')
    make_exported(folder / 'model.onnx')
    make_video(folder / 'clip.mp4', 5)
    cv2.imwrite(str(folder / 'a.png'), np.full((48, 96, 3), 128, np.uint8))
    return folder


def test_an_exported_file_needs_no_torch(files, tmp_path):
    done = run_tool(
        'demo.py', files / 'model.onnx', files / 'a.png', files / 'clip.mp4',
        '--out-dir', tmp_path / 'out', '--json', tmp_path / 'o.json', '--threads', 1,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('1 image and 5 frames of 1 video: 12 objects')
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['a.png', 'clip.mp4']
    image = json.loads((tmp_path / 'o.json').read_text())['images'][0]
    assert image['detections'][0] == dict(label='dog', score=0.9, box=[24.0, 12.0, 72.0, 36.0])


def test_the_soak_tool(files, tmp_path):
    done = run_tool(
        'analysis/video_soak.py', files / 'model.onnx', files / 'clip.mp4',
        '--minutes', 0.01, '--out-dir', tmp_path, '--threads', 1,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    verdict = json.loads((tmp_path / 'verdict.json').read_text())
    assert verdict['read'] > 5 and verdict['ended'] == 'time'


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['model.onnx', 'none.jpg'], 'FileNotFoundError: nothing to detect in'),
        (['none.onnx', 'a.png'], 'FileNotFoundError: no exported model'),
        (['clip.mp4', 'a.png'], 'ModelFileError'),
        (['model.pth', 'a.png'], 'looks like a checkpoint'),
        (['model.onnx', 'a.png', '--classes', 'cow'], 'DemoError: the detector has no class cow'),
        (['model.onnx', 'a.png', '--show'], 'PreviewError: '),
        (['model.onnx', 'a.png', '--threads', '0'], 'threads must be at least 1'),
        (['model.onnx', 'a.png', '--backend', 'ncnn'], 'cannot be run by ncnn'),
    ],
)  # fmt: skip
def test_errors_are_one_line(files, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(files)
    monkeypatch.delenv('DISPLAY', raising=False)
    monkeypatch.delenv('WAYLAND_DISPLAY', raising=False)
    monkeypatch.setattr(sys, 'argv', ['demo.py', *arguments, '--out-dir', str(tmp_path / 'out')])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / 'tools/demo.py'), run_name='__main__')
    assert ended.value.code == 1
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1
    assert not (tmp_path / 'out').exists(), 'before any work'


def test_a_checkpoint_without_torch_says_what_is_missing(files):
    done = run_tool('demo.py', 'model.pth', files / 'a.png', '--config', 'config.py')
    assert done.returncode == 1
    assert 'RuntimeMissingError: a checkpoint needs torch, mmengine, mmcv, mmdet' in done.stderr


@pytest.mark.parametrize(
    ('tool', 'missing', 'extra'),
    [('demo.py', 'tqdm', 'demo'), ('web.py', 'jinja2', 'web'), ('web.py', 'gradio', 'web')],
)
def test_a_missing_package_is_one_line(files, tool, missing, extra):
    done = run_without_torch(
        'import runpy\n'
        f"sys.modules['{missing}'] = None\n"
        f"sys.argv = ['{tool}', *sys.argv[1:]]\n"
        f"runpy.run_path('tools/{tool}', run_name='__main__')",
        files / 'model.onnx',
        *([files / 'a.png'] if tool == 'demo.py' else []),
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert missing in line and f"`pip install '.[{extra}]'`" in line


def test_a_port_that_cannot_be_is_refused_by_name(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['web.py', 'nothing.onnx', '--port', '70000'])
    monkeypatch.setenv('OMP_WAIT_POLICY', 'passive')  # the tool sets it; put back afterwards
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / 'tools' / 'web.py'), run_name='__main__')
    assert ended.value.code == 2
    assert '--port must be in 0..65535, but received 70000' in capsys.readouterr().err
