# SPDX-License-Identifier: Apache-2.0
"""The web page as a server: what it lets in, what it gives out, and that it goes on."""

import json
import os
import random
import runpy
import socket
import sys
import threading
from pathlib import Path

import pytest
from exported_file import make_exported
from web_page import picture, two_models
from without_torch import start_without_torch

from mmdet_mobilenext.demo.errors import DemoError
from mmdet_mobilenext.demo.web import WebLimits, serve
from mmdet_mobilenext.demo.web.client import PageClient

gradio = pytest.importorskip('gradio')
httpx = pytest.importorskip('httpx')
pytest.importorskip('supervision')

ROOT = Path(__file__).resolve().parents[2]
LIMITS = WebLimits(
    max_file_bytes=100_000,
    max_pictures=10,
    max_request_bytes=20_000,
    max_folder_bytes=1_200_000,
    upload_seconds=3,
    queue_size=2,
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


@pytest.fixture(scope='module')
def models():
    return two_models()


@pytest.fixture(scope='module')
def page(models):
    with serve(models, port=free_port(), limits=LIMITS) as url:
        yield httpx.Client(base_url=url, timeout=30, trust_env=False)


@pytest.fixture(scope='module')
def visitor(page):
    with PageClient(str(page.base_url)) as client:
        yield client


def send(page, data: bytes, name: str = 'a.jpg') -> str:
    """Upload a file; its path on the server."""
    answer = page.post('/gradio_api/upload', files=dict(files=(name, data)))
    assert answer.status_code == 200, answer.text
    return answer.json()[0]


def ask(page, data: list, session: str = 'session', fn: int = 0) -> dict:
    """Call an event of the page, as its own script does, and wait for the answer."""
    answer = page.post(
        '/gradio_api/queue/join', json=dict(data=data, fn_index=fn, session_hash=session)
    )
    assert answer.status_code == 200, answer.text
    with page.stream('GET', f'/gradio_api/queue/data?session_hash={session}') as stream:
        for line in stream.iter_lines():
            message = json.loads(line[6:]) if line.startswith('data: ') else {}
            if message.get('msg') == 'process_completed':
                return message
    raise AssertionError('the server has hung up')


def file(path: str, **more) -> dict:
    return dict(path=path, orig_name='a.jpg', meta=dict(_type='gradio.FileData')) | more


def folder_of(path: str) -> Path:
    return Path(path).parents[1]


def test_page_and_headers(page):
    answer = page.get('/')
    assert answer.status_code == 200 and 'first.onnx' in answer.text
    policy = answer.headers['content-security-policy']
    assert "default-src 'self'" in policy and 'http' not in policy
    assert answer.headers['x-content-type-options'] == 'nosniff'
    assert 'fonts.googleapis' not in answer.text


def test_detection_from_python(visitor):
    found = visitor.detect([picture(), picture()[:-200]], ['first.onnx', 'second.xml'], 0.5)
    assert [bool(p['problem']) for p in found['pictures']] == [False, True]
    assert [len(m['detections']) for m in found['pictures'][0]['models'].values()] == [2, 2]


def test_a_threshold_is_kept_by_session(page, models):
    path = send(page, picture())
    asked = ask(page, [[file(path)], ['first.onnx'], 0.3], 'one')
    assert asked['success'] and asked['output']['data'][2].count('<img') == 1
    runs = models[0].detector.runs
    again = ask(page, [None, None, 0.7], 'one', fn=1)['output']['data']
    assert '1 object<' in again[0] and models[0].detector.runs == runs
    other = ask(page, [None, None, 0.7], 'two', fn=1)['output']['data']
    assert 'Drop one' in other[0], 'another visitor sees nothing of it'


@pytest.mark.parametrize(
    'path',
    [
        'file=/etc/passwd',
        'file=../../../../etc/passwd',
        'file=..%2f..%2f..%2f..%2fetc%2fpasswd',
        'file=%2e%2e/%2e%2e/%2e%2e/etc/passwd',
        'file=%252e%252e%252fetc%252fpasswd',
        'file=//etc/passwd',
        'file=/proc/self/environ',
        'file=http://127.0.0.1:1/a',
        'file/etc/passwd',
        'file=pyproject.toml',
        'proxy=http://127.0.0.1:1/a',
        'stream/a/b/1/playlist.m3u8',
        'custom_component/1/server/component/../../pyproject.toml',
        'assets/../../../../etc/passwd',
        'heartbeat/../file=/etc/passwd',
        'monitoring/summary',
        'deep_link',
        'dev/reload',
        'runs',
    ],
)
def test_no_file_is_served(page, path):
    url = str(page.base_url)
    for target in (f'/gradio_api/{path}', f'/{path}', f'/assets/{path}', f'/static/{path}'):
        # by hand: a client would take the dots out
        with socket.create_connection((page.base_url.host, page.base_url.port), 10) as line:
            line.sendall(
                f'GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n'.encode()
            )
            answer = b''
            while part := line.recv(65536):
                answer += part
        assert answer.split()[1] in (b'403', b'404', b'405', b'400'), (target, answer[:300])
        assert b'root:' not in answer and b'[project]' not in answer, url


def test_uploads_are_not_served_either(page, tmp_path):
    path = send(page, b'<svg onload="alert(1)"></svg>', 'a.svg')
    link = folder_of(path) / 'link'
    link.symlink_to(tmp_path)
    (tmp_path / 'model.onnx').write_bytes(b'weights')
    for target in (path, f'{link}/model.onnx', str(ROOT / 'pyproject.toml')):
        assert page.get(f'/gradio_api/file={target}').status_code == 404
    link.unlink()
    answer = ask(page, [[file(path, orig_name='a.svg')], ['first.onnx'], 0.3])
    assert 'no image of a known format' in answer['output']['data'][2]


def test_only_uploads_are_read(page, monkeypatch, tmp_path):
    fetched = []

    async def fetch(url, **_):
        fetched.append(url)
        raise OSError('nothing is to be fetched')

    monkeypatch.setattr(gradio.processing_utils, 'async_ssrf_protected_download', fetch)
    monkeypatch.setattr(gradio.processing_utils, 'async_ssrf_protected_get', fetch)
    secret = tmp_path / 'secret.jpg'
    secret.write_bytes(picture())
    upload = send(page, picture())
    link = folder_of(upload) / 'link.jpg'
    link.symlink_to(secret)
    for given in (
        file('/etc/passwd'),
        file(str(secret)),
        file(f'{folder_of(upload)}/../../{secret}'),
        file(str(link)),
        file('http://example.org/a.jpg'),
        file('https://huggingface.co/a.jpg', url='https://huggingface.co/a.jpg'),
        file(str(secret), is_stream=True),
        file(upload, meta=None) | dict(path='/etc/passwd'),
        dict(path='/etc/passwd'),
        dict(url='http://example.org/a.jpg'),
        'http://example.org/a.jpg',
        7,
    ):
        answer = ask(page, [[given], ['first.onnx'], 0.3])
        shown = json.dumps(answer)
        assert '<img' not in shown and 'root:' not in shown, given
    assert fetched == []
    link.unlink()


def test_values_that_the_page_would_not_send(page):
    path = send(page, picture())
    good = [[file(path)], ['first.onnx'], 0.3]
    for place, value in [
        (0, 'text'),
        (0, [[[]]]),
        (1, ['third.onnx']),
        (1, 7),
        (1, None),
        (2, 'x'),
        (2, None),
        (2, 1e999),
        (2, [0.3]),
    ]:
        data = [*good]
        data[place] = value
        body = json.dumps(dict(data=data, fn_index=0, session_hash='odd'))
        answer = page.post(
            '/gradio_api/queue/join', content=body, headers={'content-type': 'application/json'}
        )
        if answer.status_code == 200:
            with page.stream('GET', '/gradio_api/queue/data?session_hash=odd') as stream:
                assert any('process_completed' in line for line in stream.iter_lines())
    for body in (b'', b'{', b'\xff', b'[]', b'null', b'{"data": 1}', b'[' * 9000):
        # each on a connection of its own: FastAPI's answer to the third of them ends it
        answer = httpx.post(f'{page.base_url}gradio_api/queue/join', content=body, trust_env=False)
        assert answer.status_code >= 400, body
    assert ask(page, good)['output']['data'][2].count('<img') == 1


def test_too_large(page):
    answer = page.post('/gradio_api/upload', files=dict(files=('a.jpg', bytes(100_001))))
    assert answer.status_code == 413, 'of one file'
    answer = page.post('/gradio_api/upload', files=[('files', ('a', bytes(99_000)))] * 12)
    assert answer.status_code == 413 and 'more than the 1,065,536 bytes' in answer.text

    def chunks():
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        for _ in range(1500):
            yield bytes(1000)

    answer = page.post(
        '/gradio_api/upload',
        content=chunks(),
        headers={'content-type': 'multipart/form-data; boundary=x'},
    )
    assert answer.status_code == 413, 'without a length in its head'
    answer = page.post('/gradio_api/queue/join', json=dict(data=['x' * 20_000]))
    assert answer.status_code == 413 and 'more than the 20,000 bytes' in answer.text


def test_a_slow_upload_ends(page):
    head = (
        'POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n'
        'Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n'
    )
    with socket.create_connection((page.base_url.host, page.base_url.port), 20) as line:
        line.sendall(head.encode())
        assert line.recv(1000).split()[1] == b'408'


def test_old_uploads_make_room(page):
    first = send(page, bytes(90_000) + b'first')
    os.utime(first, (1, 1))
    for number in range(15):
        send(page, bytes(90_000) + bytes([number]))
    left = [path for path in folder_of(first).rglob('*') if path.is_file()]
    assert not Path(first).exists()
    assert sum(path.stat().st_size for path in left) <= LIMITS.max_folder_bytes
    assert send(page, bytes(90_000) + b'first') == first, 'it can come again'


def test_other_names_and_sites_are_refused(page):
    assert page.get('/', headers=dict(host='evil.example')).status_code == 400
    for site in ('cross-site', 'same-site'):
        answer = page.post(
            '/gradio_api/queue/join',
            json=dict(data=[None, [], 0.3], fn_index=0, session_hash='x'),
            headers={'sec-fetch-site': site},
        )
        assert answer.status_code == 403 and 'other sites' in answer.text
    answer = page.get('/config', headers=dict(origin='http://evil.example'))
    assert 'access-control-allow-origin' not in answer.headers


def test_the_queue_is_short(page, models):
    going, go_on = threading.Event(), threading.Event()
    detector = models[0].detector

    def slow(image):
        going.set()
        assert go_on.wait(30)
        return detector(image)

    path = send(page, picture())
    object.__setattr__(models[0], 'detector', slow)
    try:
        codes = []
        for number in range(6):
            body = dict(
                data=[[file(path)], ['first.onnx'], 0.3], fn_index=0, session_hash=f'q{number}'
            )
            codes.append(page.post('/gradio_api/queue/join', json=body).status_code)
            if number == 0:
                assert going.wait(10)
        assert codes == [200] * 3 + [503] * 3
    finally:
        go_on.set()
        object.__setattr__(models[0], 'detector', detector)
    for number in range(3):
        answers = page.stream('GET', f'/gradio_api/queue/data?session_hash=q{number}')
        with answers as stream:
            assert any('process_completed' in line for line in stream.iter_lines())
    assert ask(page, [[file(path)], ['first.onnx'], 0.3])['success']


def damaged(seed: int, number: int) -> list[bytes]:
    """Images with flipped, cut and foreign bytes, and bytes that never were one."""
    source = random.Random(seed)
    whole = [picture(24, 16, suffix) for suffix in ('.jpg', '.png', '.bmp', '.webp', '.tiff')]
    found = []
    for _ in range(number):
        data = bytearray(source.choice(whole))
        for _ in range(source.randint(1, 8)):
            data[source.randrange(len(data))] = source.randrange(256)
        data = data[: source.randint(0, len(data))] if source.random() < 0.4 else data
        found.append(bytes(data) if source.random() < 0.9 else source.randbytes(200))
    return found


def test_damaged_pictures(visitor):
    data = damaged(0, 300)
    read = 0
    for start in range(0, len(data), 10):
        found = visitor.detect(data[start : start + 10], ['first.onnx'])['pictures']
        assert len(found) == 10
        for one in found:
            assert bool(one['problem']) != bool(one['models'])
        read += sum(bool(one['models']) for one in found)
    assert 0 < read < len(data), 'some can be read, some cannot'
    assert visitor.detect([picture()], ['first.onnx'])['pictures'][0]['models']


def test_nothing_is_left(models):
    settings = {name: os.environ.get(name) for name in ('GRADIO_TEMP_DIR', 'HF_HUB_OFFLINE')}
    with serve(models, port=free_port()) as url:
        with httpx.Client(base_url=url, trust_env=False) as page:
            path = Path(send(page, picture()))
        assert path.exists()
    assert not path.parents[1].exists()
    assert {name: os.environ.get(name) for name in settings} == settings
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)
    assert not list((ROOT / 'mmdet_mobilenext').rglob('*.pyi')), 'which Gradio writes'


def test_the_server_ends_while_a_visitor_uploads(models):
    before = set(threading.enumerate())
    with socket.socket() as visitor, serve(models, port=free_port()) as url:
        address = ('127.0.0.1', httpx.URL(url).port)
        visitor.connect(address)
        head = (
            f'POST /gradio_api/upload HTTP/1.1\r\nHost: {address[0]}\r\nContent-Length: 9999\r\n'
            'Content-Type: multipart/form-data; boundary=x\r\nExpect: 100-continue\r\n\r\n'
        )
        visitor.sendall(head.encode())
        assert b' 100 ' in visitor.recv(100)  # the upload has begun
        visitor.sendall(b'--x\r\n')
        server = [t for t in set(threading.enumerate()) - before if '(run)' in t.name]
    assert server and not any(thread.is_alive() for thread in server)


@pytest.mark.slow
def test_the_tool_needs_no_torch(tmp_path):
    make_exported(tmp_path / 'model.onnx')
    code = """
import runpy
runpy.run_path('tools/web.py', run_name='__main__')
"""
    arguments = [tmp_path / 'model.onnx', '--port', port := free_port(), '--host', '0.0.0.0']
    tool = start_without_torch(code, *arguments)
    try:
        line = tool.stdout.readline()
        assert str(port) in line, tool.communicate(timeout=60)
        with PageClient(f'http://127.0.0.1:{port}/') as client:
            found = client.detect([picture()], ['model.onnx'], 0.5)['pictures'][0]['models']
        assert found['model.onnx']['detections'][0]['label'] == 'dog'
    finally:
        tool.terminate()
    out, error = tool.communicate(timeout=60)
    assert tool.returncode == 0 and 'ended by SIGTERM' in out, error
    assert 'Listening on 0.0.0.0: everybody who reaches this machine can use the page' in error


def test_a_port_in_use_is_named(models):
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(DemoError, match=f'port {port}: it is in use'), serve(models, port=port):
            pass


def test_the_tool_names_a_missing_model(monkeypatch, capsys):
    tool = str(ROOT / 'tools' / 'web.py')
    monkeypatch.setattr(sys, 'argv', [tool, 'nothing.onnx'])
    with pytest.raises(SystemExit, match='1'):
        runpy.run_path(tool, run_name='__main__')
    assert "FileNotFoundError: no exported model 'nothing.onnx'" in capsys.readouterr().err
