# SPDX-License-Identifier: Apache-2.0
"""Downloads against a server on this machine that drops, lies, and changes its mind."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest
from file_server import FileServer
from small_voc import environment

from mmdet_mobilenext.fetching import FetchError, fetch_file, resuming
from mmdet_mobilenext.fetching import fetch as fetching

CONTENT = random.Random(0).randbytes(300_000)
CHUNK = 65_536
OTHER = random.Random(1).randbytes(300_000)
SHA256, MD5 = hashlib.sha256(CONTENT).hexdigest(), hashlib.md5(CONTENT).hexdigest()
HASHES = [f'sha256:{SHA256}', f'md5:{MD5}', f'sha256-prefix:{SHA256[:8]}', None]


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(resuming, 'PAUSE', 0.0)


@pytest.fixture
def server():
    with FileServer(CONTENT) as running:
        yield running


@pytest.fixture
def dest(tmp_path):
    return tmp_path / 'data' / 'file.bin'


def fetch(urls, dest, known_hash=HASHES[0]):
    urls = [urls] if isinstance(urls, str) else urls
    return fetch_file(urls, dest, known_hash, progress=False)


def left(dest):
    """Names of the files, without the lock."""
    return sorted(p.name for p in dest.parent.iterdir() if not p.name.endswith('.lock'))


@pytest.mark.parametrize('known_hash', HASHES)
def test_file_arrives_whole_and_is_not_asked_for_again(server, dest, known_hash):
    fetched = fetch(server.url, dest, known_hash)
    assert dest.read_bytes() == CONTENT
    assert (fetched.path, fetched.sha256, fetched.url) == (dest, SHA256, server.url)
    assert left(dest) == ['file.bin']
    again = fetch(server.url, dest, known_hash)
    assert (again.sha256, again.url) == (SHA256, None)
    assert len(server.requests) == 1


@pytest.mark.parametrize('known_hash', HASHES)
def test_connection_that_drops_is_taken_up_where_it_was(server, dest, known_hash):
    server.breaks = [2 * CHUNK, CHUNK, CHUNK - 1]  # of a chunk that breaks nothing is kept
    fetch(server.url, dest, known_hash)
    assert dest.read_bytes() == CONTENT
    ranges = [request.get('Range') for request in server.requests]
    assert ranges == [None, 'bytes=131072-', 'bytes=196608-', 'bytes=196608-']


@pytest.mark.parametrize('known_hash', [HASHES[0], None])
def test_server_that_sends_less_than_was_asked_for(server, dest, known_hash):
    server.breaks, server.slice = [CHUNK], 3 * CHUNK
    fetch(server.url, dest, known_hash)
    assert dest.read_bytes() == CONTENT
    ranges = [request.get('Range') for request in server.requests]
    assert ranges == [None, 'bytes=65536-', 'bytes=262144-']


def test_server_without_ranges_sends_all_again(server, dest):
    server.ranges, server.breaks = False, [2 * CHUNK]
    assert fetch(server.url, dest).resumed_from == 0
    assert dest.read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_what_a_failed_call_left_is_used_by_the_next_one_and_by_another_mirror(server, dest):
    server.breaks = [2 * CHUNK, 0, 0, 0]
    with pytest.raises(FetchError, match=r'broke off \(3 attempts; 131,072 bytes are kept'):
        fetch(server.url, dest)
    assert left(dest) == ['.file.bin.part', '.file.bin.part.json']
    with FileServer(CONTENT) as mirror:
        fetched = fetch(mirror.url, dest)
        assert mirror.requests[0]['Range'] == 'bytes=131072-'
    assert fetched.resumed_from == 2 * CHUNK
    assert dest.read_bytes() == CONTENT


def test_bytes_of_two_mirrors_are_not_mixed_without_a_hash(server, dest):
    server.breaks = [2 * CHUNK, 0, 0, 0]
    with FileServer(OTHER) as mirror:
        fetched = fetch([server.url, mirror.url], dest, None)
        assert 'Range' not in mirror.requests[0]
    assert dest.read_bytes() == OTHER and fetched.sha256 == hashlib.sha256(OTHER).hexdigest()


@pytest.mark.parametrize('heeds_if_range', [True, False])
@pytest.mark.parametrize('known_hash', [HASHES[0], None])
def test_file_that_has_changed_is_fetched_anew(server, dest, known_hash, heeds_if_range):
    server.heeds_if_range = heeds_if_range
    server.breaks = [2 * CHUNK, 0, 0, 0]
    with pytest.raises(FetchError):
        fetch(server.url, dest, known_hash)
    server.content, server.etag = OTHER, '"2"'
    server.requests.clear()
    other = known_hash and f'sha256:{hashlib.sha256(OTHER).hexdigest()}'
    fetch(server.url, dest, other)
    assert dest.read_bytes() == OTHER
    assert server.requests[0]['If-Range'] == '"1"'
    assert len(server.requests) == (1 if heeds_if_range else 2)


@pytest.mark.parametrize('known_hash', [HASHES[0], None])
def test_server_that_tells_no_versions_apart(server, dest, known_hash):
    server.etag, server.breaks = None, [2 * CHUNK, 0, 0, 0]
    with pytest.raises(FetchError):
        fetch(server.url, dest, known_hash)
    server.requests.clear()
    fetch(server.url, dest, known_hash)
    assert dest.read_bytes() == CONTENT
    # only a hash could tell that the bytes belong together
    ranges = [request.get('Range') for request in server.requests]
    assert ranges == (['bytes=131072-'] if known_hash else [None])


@pytest.mark.parametrize('links', [True, False])
def test_kill_while_the_bytes_are_compared(server, dest, links, monkeypatch):
    def killed(*args):
        raise KeyboardInterrupt

    def no_link(*args):
        raise PermissionError

    if not links:
        monkeypatch.setattr(resuming.os, 'link', no_link)
    with monkeypatch.context() as patch:
        patch.setattr(fetching, '_compare', killed)
        with pytest.raises(KeyboardInterrupt):
            fetch(server.url, dest)
    assert not dest.exists()
    fetch(server.url, dest)
    assert dest.read_bytes() == CONTENT and left(dest) == ['file.bin']
    assert len(server.requests) == (1 if links else 2)


def test_part_that_does_not_fit_its_hash_is_fetched_once_more_from_zero(server, dest):
    """Another mirror, the same size, no way to see it before the end."""
    with FileServer(OTHER) as wrong:
        wrong.breaks = [2 * CHUNK, 0, 0, 0]
        with pytest.raises(FetchError):
            fetch(wrong.url, dest)
    fetched = fetch(server.url, dest)
    assert dest.read_bytes() == CONTENT and fetched.resumed_from == 0
    assert [request.get('Range') for request in server.requests] == ['bytes=131072-', None]


@pytest.mark.parametrize('known_hash', HASHES[:3])
def test_wrong_bytes_are_named_and_the_next_mirror_is_asked(server, dest, known_hash):
    with FileServer(OTHER) as wrong:
        fetched = fetch([wrong.url, server.url], dest, known_hash)
        assert fetched.url == server.url
        dest.unlink()
        with pytest.raises(FetchError) as error:
            fetch(wrong.url, dest, known_hash)
        assert wrong.url in str(error.value)
        kind = 'md5' if 'md5' in known_hash else 'sha256'
        assert hashlib.new(kind, OTHER).hexdigest() in str(error.value)
        assert known_hash.partition(':')[2] in str(error.value)
    assert left(dest) == []


def test_every_mirror_that_failed_is_told(server, dest):
    server.status = [404]
    dead = 'http://127.0.0.1:9/file.bin'
    with pytest.raises(FetchError) as error:
        fetch([server.url, dead], dest)
    assert f'{server.url}: 404 Not Found' in str(error.value)
    assert f'{dead}: no connection' in str(error.value)
    assert '(3 attempts)' in str(error.value)
    assert len(server.requests) == 1  # a 404 stays one


def test_mirror_that_failed_is_told_though_another_has_the_file(server, dest, capsys):
    server.status = [404]
    urls = [server.url + '?first', server.url]
    assert fetch_file(urls, dest, HASHES[0], title='weights').url == server.url
    assert f'weights: {server.url}?first: 404 Not Found\n' in capsys.readouterr().err
    dest.unlink()
    server.status = [404]
    fetch(urls, dest)
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize('status', [[503, 500], [429, 408]])
def test_server_that_is_busy_is_asked_again(server, dest, status):
    server.status = status
    fetch(server.url, dest)
    assert len(server.requests) == 3


def test_proxy_of_the_environment(server, dest, monkeypatch):
    for name in ('no_proxy', 'NO_PROXY', 'HTTP_PROXY'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('http_proxy', server.url)
    fetch('http://data.invalid/file.bin', dest)
    assert [request['path'] for request in server.requests] == ['http://data.invalid/file.bin']


def test_length_that_is_not_true(server, dest):
    server.length = len(CONTENT) + 1000
    with pytest.raises(FetchError, match='does not continue'):
        fetch(server.url, dest)
    assert not dest.exists()


def test_length_that_is_not_told_needs_a_hash(server, dest):
    server.length = 0
    with pytest.raises(FetchError, match='does not say how long'):
        fetch(server.url, dest, None)
    fetch(server.url, dest)
    assert dest.read_bytes() == CONTENT


def test_part_longer_than_the_file(server, dest):
    server.breaks = [4 * CHUNK, 0, 0, 0]
    with pytest.raises(FetchError):
        fetch(server.url, dest)
    server.content = CONTENT[:1000]
    fetch(server.url, dest, f'sha256:{hashlib.sha256(CONTENT[:1000]).hexdigest()}')
    assert dest.read_bytes() == CONTENT[:1000]


def test_another_file_in_its_place_is_left_alone(server, dest):
    dest.parent.mkdir()
    dest.write_bytes(b'mine')
    with pytest.raises(FetchError, match='remove it'):
        fetch(server.url, dest)
    assert dest.read_bytes() == b'mine' and not server.requests
    assert [p.name for p in dest.parent.iterdir()] == ['file.bin']  # it may be read-only


@pytest.mark.parametrize(
    ('url', 'known_hash', 'message'),
    [
        ('file:///etc/passwd', None, 'must begin with http'),
        ('ftp://example.org/a', None, 'must begin with http'),
        ('http:///a', None, 'must begin with http'),
        ('http://example.org/a', 'sha256:12', "'sha256:12'"),
        ('http://example.org/a', 'sha1:' + '0' * 40, 'sha1'),
        ('http://example.org/a', 'sha256-prefix:0123456', 'sha256-prefix:0123456'),
        ('http://example.org/a', 'md5:' + 'g' * 32, 'ggg'),
    ],
)
def test_bad_requests_are_named(url, known_hash, message, dest):
    with pytest.raises(ValueError, match=message):
        fetch(url, dest, known_hash)
    assert not dest.parent.exists()


def test_two_at_the_same_time(server, dest):
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(fetch(server.url, dest))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dest.read_bytes() == CONTENT
    assert len(server.requests) == 1
    assert sorted(str(r.url) for r in results) == ['None', 'None', 'None', server.url]


@pytest.mark.slow
def test_killed_download_goes_on(server, dest):
    """SIGKILL in the middle, while the server holds the rest back."""
    release = threading.Event()
    answer = server.answer

    def hold(handler):
        write = handler.wfile.write

        def slowly(data):
            if len(data) < 100_000 or release.is_set():
                return write(data)
            write(data[:200_000])
            handler.wfile.flush()
            release.wait(60)

        handler.wfile.write = slowly
        answer(handler)

    server.answer = hold
    code = (
        'import sys; from mmdet_mobilenext.fetching import fetch_file; '
        'fetch_file([sys.argv[1]], sys.argv[2], None, progress=False)'
    )
    child = subprocess.Popen([sys.executable, '-c', code, server.url, str(dest)], env=environment())
    part = dest.with_name('.file.bin.part')
    end = time.monotonic() + 60
    while not part.exists() or part.stat().st_size < 100_000:
        assert time.monotonic() < end and child.poll() is None
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    release.set()
    assert not dest.exists()
    fetched = fetch(server.url, dest, None)
    assert fetched.resumed_from >= 100_000
    assert dest.read_bytes() == CONTENT
    assert left(dest) == ['file.bin']


def test_answer_that_is_no_file(server, dest):
    server.content = b''
    with pytest.raises(FetchError, match='the file is empty'):
        fetch(server.url, dest, None)
    assert not dest.exists()
