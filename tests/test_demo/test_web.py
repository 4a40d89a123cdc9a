# SPDX-License-Identifier: Apache-2.0
"""What the web page does with pictures, without a server and a browser."""

import base64
import json
import os
import re
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from exported_file import make_exported
from web_page import picture, two_models

from mmdet_mobilenext.demo.errors import DemoError
from mmdet_mobilenext.demo.web import WebLimits, WebModel, load_models
from mmdet_mobilenext.demo.web.compare import RUNS
from mmdet_mobilenext.demo.web.folder import UploadFolder
from mmdet_mobilenext.demo.web.models import _names
from mmdet_mobilenext.demo.web.page import detect, redraw
from mmdet_mobilenext.demo.web.render import COLUMNS, render_about
from mmdet_mobilenext.demo.web.server import is_loopback
from mmdet_mobilenext.engine.config import load_config
from mmdet_mobilenext.engine.model_checks import build_model
from mmdet_mobilenext.runtime import ModelFileError

pytest.importorskip('supervision')
BOTH = ['first.onnx', 'second.xml']


@pytest.fixture
def folder(tmp_path) -> UploadFolder:
    (tmp_path / 'uploads').mkdir()
    return UploadFolder(tmp_path / 'uploads', WebLimits())


def upload(folder: UploadFolder, data: bytes, name: str = 'a.jpg') -> dict:
    """What a request says of a file, after its upload."""
    path = folder.path / f'{len(os.listdir(folder.path))}.jpg'
    path.write_bytes(data)
    return dict(path=str(path), orig_name=name)


def shown_json(html: str) -> dict:
    found = re.search(r'href="data:application/json;base64,([^"]*)"', html)
    return json.loads(base64.b64decode(found[1]))


def shown_images(html: str) -> list[np.ndarray]:
    found = re.findall(r'src="data:image/jpeg;base64,([^"]*)"', html)
    return [
        cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        for data in found
    ]


def test_both_models_see_each_picture(folder):
    models = two_models()
    uploads = [upload(folder, picture()), upload(folder, picture(60, 80, '.png'), 'b.png')]
    results, notes, html, rows = detect(models, folder, uploads, BOTH, 0.3)
    assert notes == [] and [result.problem for result in results] == [None, None]
    assert [model.detector.runs for model in models] == [2 * RUNS, 2 * RUNS]
    images = shown_images(html)
    assert [image.shape for image in images] == [(480, 640, 3)] * 2 + [(640, 480, 3)] * 2
    assert (images[0] != images[1]).any(), 'the third box is of the first model alone'
    found = shown_json(html)['pictures']
    assert [p['name'] for p in found] == ['a.jpg', 'b.png'] and found[1]['height'] == 80
    assert [len(found[0]['models'][name]['detections']) for name in BOTH] == [3, 2]
    assert found[0]['models']['first.onnx']['detections'][0]['box'] == [8.0, 6.0, 40.0, 30.0]
    assert len(rows) == 10 and {len(row) for row in rows} == {len(COLUMNS)}
    assert rows[0][:4] == ['a.jpg', 'first.onnx', 'cat', 0.9]


def test_a_new_threshold_needs_no_inference(folder):
    models = two_models()
    results, notes, before, _ = detect(models, folder, [upload(folder, picture())], BOTH, 0.05)
    runs = [model.detector.runs for model in models]
    html, rows = redraw(folder.limits, results, notes, 0.7)
    assert [model.detector.runs for model in models] == runs
    assert len(rows) == 2 and html.count('1 object<') == 2 and before.count('3 objects<') == 2
    assert shown_json(html)['score_thr'] == 0.7
    old, new = shown_images(before), shown_images(html)
    assert (old[0] != new[0]).any()


def test_models_take_turns(folder):
    models, calls = two_models(), []
    for model in models:
        found = model.detector
        object.__setattr__(
            model, 'detector', lambda image, f=found, n=model.name: calls.append(n) or f(image)
        )
    detect(models, folder, [upload(folder, picture())], BOTH, 0.3)
    assert calls == BOTH * RUNS


def test_a_broken_picture_does_not_stop_the_others(folder):
    uploads = [upload(folder, data) for data in (picture()[:-200], picture(), b'', b'<svg></svg>')]
    results, _, html, _ = detect(two_models(), folder, uploads, BOTH, 0.3)
    assert 'truncated' in results[0].problem and 'empty' in results[2].problem
    assert results[3].problem and not results[1].problem
    assert html.count('role="alert"') == 3 and len(shown_images(html)) == 2
    assert str(folder.path) not in html, "the server's paths are its own business"


def test_a_model_that_fails_is_told(folder):
    def fail(image):
        raise ModelFileError('the file finds classes that it has no names for')

    models = [*two_models(), WebModel('third.onnx', fail, '')]
    given = [upload(folder, picture())]
    results, _, html, _ = detect(models, folder, given, [*BOTH, 'third.onnx'], 0.3)
    assert 'no names for' in results[0].problem and len(shown_images(html)) == 2


def test_too_much_is_told(folder):
    folder.limits = WebLimits(max_pictures=2, max_pixels=4799)
    uploads = [upload(folder, picture(), f'{number}.jpg') for number in range(3)]
    results, notes, html, _ = detect(two_models(), folder, uploads, BOTH, 0.3)
    assert len(results) == 2 and '3 pictures are more than the 2' in notes[0]
    assert '80x60 pixels, more than the 4,799' in results[0].problem
    assert 'the last 1 are left out' in html

    folder.limits = WebLimits(max_file_bytes=100)
    results, _, _, _ = detect(two_models(), folder, uploads[:1], BOTH, 0.3)
    assert 'more than the 100 that are allowed' in results[0].problem


def test_the_time_of_a_request_ends(folder, monkeypatch):
    from mmdet_mobilenext.demo.web import compare

    clock = iter(range(0, 10_000, 20))  # each look at the clock is 20 s later
    monkeypatch.setattr(compare.time, 'monotonic', lambda: next(clock))
    uploads = [upload(folder, picture()) for _ in range(2)]
    models = two_models()
    results, _, html, _ = detect(models, folder, uploads, BOTH, 0.3)
    assert 'the 60 s of a request are over' in results[0].problem
    assert results[1].found == {} and results[1].problem == results[0].problem
    assert sum(model.detector.runs for model in models) == 2
    assert len(shown_images(html)) == 2, 'what was found in time is shown'


def test_nothing_chosen_and_nothing_given(folder):
    assert 'Drop one' in detect(two_models(), folder, None, BOTH, 0.3)[2]
    given = [upload(folder, picture())]
    assert 'Choose one' in detect(two_models(), folder, given, [], 0.3)[2]
    assert redraw(folder.limits, None, None, 0.3)[1] == []


def test_names_are_escaped(folder):
    name = '<img src=x onerror=alert(1)>"\'&.jpg'
    _, _, html, rows = detect(
        two_models(), folder, [upload(folder, picture(), name)], ['first.onnx'], 0.1
    )
    assert '<img src=x' not in html and 'alt="&lt;img' in html
    assert rows[0][0] == name, 'the table escapes by itself'
    assert shown_json(html)['pictures'][0]['name'] == name
    long = detect(two_models(), folder, [upload(folder, picture(), 'x' * 999)], BOTH, 0.3)[0]
    assert len(long[0].name) == 120
    models = two_models()
    object.__setattr__(models[0], 'name', '<script>')
    assert '<script>' not in render_about(models, folder.limits)


def test_only_uploads_are_read(folder, tmp_path):
    secret = tmp_path / 'model.onnx'
    secret.write_bytes(picture())
    (folder.path / 'link.jpg').symlink_to(secret)
    (folder.path / 'folder').mkdir()
    os.mkfifo(folder.path / 'pipe')
    inside = upload(folder, picture())['path']
    for path in (
        '/etc/passwd',
        str(secret),
        str(folder.path / 'link.jpg'),
        str(folder.path / 'folder'),
        str(folder.path / 'pipe'),
        f'{folder.path}/../model.onnx',
        f'{folder.path}/folder/../{Path(inside).name}',
        os.path.relpath(inside),
        'http://127.0.0.1/a.jpg',
        'file:///etc/passwd',
        'a\0b',
        '',
        None,
        7,
    ):
        with pytest.raises(ValueError, match='was not uploaded here'):
            folder.uploaded(path)
        results, notes, _, _ = detect(two_models(), folder, [dict(path=path)], BOTH, 0.3)
        assert results == [] and 'was not uploaded here' in notes[0]
    assert folder.uploaded(inside) == inside


def test_a_picture_that_is_gone_is_told(folder):
    given = upload(folder, picture())
    results, notes, _, _ = detect(two_models(), folder, [given], BOTH, 0.3)
    os.remove(given['path'])
    html, rows = redraw(folder.limits, results, notes, 0.3)
    assert 'no longer kept here' in html and shown_images(html) == [] and len(rows) == 5


def test_the_folder_does_not_grow(tmp_path):
    limits = WebLimits(
        max_file_bytes=1000, max_pictures=1, max_folder_bytes=70_000, keep_seconds=100
    )
    folder = UploadFolder(tmp_path, limits)
    now = time.time()
    for number in range(30):
        path = tmp_path / f'{number}' / 'a.jpg'
        path.parent.mkdir()
        path.write_bytes(bytes(1000))
        os.utime(path, (now - number, now - number))
    assert folder.make_room(20_000) == []
    assert folder.make_room(45_000) == [f'{n}/a.jpg' for n in (29, 28, 27, 26, 25)]
    os.utime(tmp_path / '0' / 'a.jpg', (now - 300, now - 300))
    assert folder.make_room(0) == ['0/a.jpg'], 'an aborted upload that nobody knows of'
    for number in range(25, 30):
        os.utime(tmp_path / f'{number}', (now - 100, now - 100))
    folder.make_room(0)
    assert not (tmp_path / '27').exists() and (tmp_path / '0').exists()


def test_an_exported_file(tmp_path, folder):
    make_exported(tmp_path / 'a.onnx')
    models = load_models([str(tmp_path / 'a.onnx')], threads=1)
    about = r'ONNX Runtime, float32, input 32x16, 2 classes, threads: 1, 0\.0 MB'
    assert re.fullmatch(about, models[0].about), models[0].about
    results, _, _, rows = detect(models, folder, [upload(folder, picture(96, 48))], ['a.onnx'], 0.5)
    assert rows == [['a.jpg', 'a.onnx', 'dog', 0.9, 24.0, 12.0, 72.0, 36.0]]
    assert len(results[0].found['a.onnx']) == 2


def test_a_checkpoint(tmp_path, configs):
    config = str(configs / 'ssdlite_mobilenext_demo.py')
    model = build_model(load_config(config))
    meta = dict(dataset_meta=dict(classes=tuple('abcdefgh')))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'a.pth')
    (shown,) = load_models([], [(config, str(tmp_path / 'a.pth'))])
    assert shown.name == 'a.pth'
    assert re.fullmatch(r'PyTorch, float32, 8 classes, threads: \d+, [23]\.\d MB', shown.about)


def test_models_are_named_by_their_files(tmp_path):
    assert _names(['/x/a.onnx', '/y/b.xml']) == ['a.onnx', 'b.xml']
    assert _names(['/x/1/a.onnx', '/x/2/a.onnx', '/z/b.xml']) == ['1/a.onnx', '2/a.onnx', 'z/b.xml']
    with pytest.raises(DemoError, match=r'a\.onnx is given 2 times'):
        _names(['/x/a.onnx', '/x/../x/a.onnx'])
    with pytest.raises(DemoError, match='no model is given'):
        load_models([])
    with pytest.raises(FileNotFoundError, match=r"no exported model 'nothing\.onnx'"):
        load_models(['nothing.onnx'])


@pytest.mark.parametrize('value', [0, -1, 1.5, True, '8'])
def test_limits_are_checked(value):
    with pytest.raises(ValueError, match=r'max_pictures must be a whole number .* received'):
        WebLimits(max_pictures=value)


def test_the_folder_holds_an_upload():
    with pytest.raises(ValueError, match='max_folder_bytes must be at least'):
        WebLimits(max_folder_bytes=1000)


def test_hosts():
    assert all(is_loopback(host) for host in ('localhost', '127.0.0.1', '127.0.0.2', '::1'))
    assert not any(is_loopback(host) for host in ('0.0.0.0', '::', '192.168.0.7', 'example.org'))
