# SPDX-License-Identifier: Apache-2.0
"""Reading videos: damage, losses, real time."""

from __future__ import annotations

import http.server
import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from small_video import damage, make_video, mark_of, turn

from mmdet_mobilenext.demo.errors import DemoError, VideoError
from mmdet_mobilenext.demo.video_connection import VideoConnection
from mmdet_mobilenext.demo.video_reader import VideoReader
from mmdet_mobilenext.demo.video_source import VideoSource, video_source
from mmdet_mobilenext.runtime.errors import RuntimeMissingError


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp('video') / 'clip.mp4')


def read(source, **options):
    reports = []
    reader = VideoReader(source, report=reports.append, **options)
    frames = list(reader)
    return frames, reader.account, reports


def test_every_frame_of_a_file_comes_in_order_with_its_time(video):
    frames, account, reports = read(video)
    assert [mark_of(frame.image) for frame in frames] == list(range(30))
    assert [frame.index for frame in frames] == list(range(30))
    assert [frame.time for frame in frames] == pytest.approx([k / 25 for k in range(30)])
    assert account.counts() | {'read': 30} == account.counts()
    assert account.dropped == account.damaged == 0 and not reports


def test_uneven_times_are_kept(tmp_path):
    times = [0, 0.04, 0.5, 0.54, 2.0]
    frames, _, _ = read(make_video(tmp_path / 'a.mp4', 5, times=times))
    assert [frame.time for frame in frames] == pytest.approx(times, abs=1e-4)


def test_damaged_frames_are_named_and_passed_over(tmp_path):
    frames, account, reports = read(damage(make_video(tmp_path / 'a.mp4'), [13]))
    assert account.damaged == len(reports) >= 1 and account.read == 30 - account.damaged
    assert 'a.mp4: frame 13 at 0.520 s is damaged and skipped' in reports[0]
    assert 13 not in [frame.index for frame in frames]
    assert [frame.index for frame in frames] == [round(frame.time * 25) for frame in frames]
    # Frames that build on it show traces, until the key frame that comes every ten frames.
    sound = [frame for frame in frames if frame.index not in range(13, 20)]
    assert [mark_of(frame.image) for frame in sound] == [*range(13), *range(20, 30)]


def test_bytes_that_are_no_packet_are_passed_over(tmp_path):
    path = make_video(tmp_path / 'a.ts')
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    path.write_bytes(data)
    frames, account, _ = read(path)
    assert 15 < len(frames) == account.read <= 30
    assert mark_of(frames[-1].image) == 29


def test_a_cut_file_says_how_much_is_missing(tmp_path):
    path = make_video(tmp_path / 'a.mp4', movflags='faststart')
    data = path.read_bytes()
    path.write_bytes(data[: 2 * len(data) // 3])
    frames, account, reports = read(path)
    assert 0 < len(frames) < 30
    assert f'ends early, {30 - account.read - account.damaged} frames are missing' in reports[-1]


@pytest.mark.parametrize('content', [b'', b'no video at all' * 100])
def test_what_is_no_video_is_an_error(tmp_path, content):
    (tmp_path / 'a.mp4').write_bytes(content)
    with pytest.raises(VideoError, match=r'a\.mp4 cannot be opened: Invalid data'):
        read(tmp_path / 'a.mp4')


def test_sound_alone_is_no_video(tmp_path):
    import av

    with av.open(str(tmp_path / 'a.wav'), 'w') as container:
        stream = container.add_stream('pcm_s16le', rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), 's16', 'mono')
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(VideoError, match='has no video in it'):
        read(tmp_path / 'a.wav')


def test_pictures_of_telephones_are_turned(tmp_path):
    plain = read(make_video(tmp_path / 'a.mp4', 1))[0][0].image
    turned = read(turn(tmp_path / 'a.mp4'))[0][0].image
    assert turned.shape == (96, 64, 3)
    assert np.array_equal(turned, np.rot90(plain, -1))


def test_names_with_colons_and_letters_of_any_alphabet(tmp_path):
    assert len(read(make_video(tmp_path / 'a.mp4', 3).rename(tmp_path / 'ä:ж 你.mp4'))[0]) == 3


def test_a_looped_file_goes_on_in_time(video):
    reader = VideoReader(video, loop=True, report=pytest.fail)
    times, marks = [], []
    for frame in reader:
        times.append(frame.time)
        marks.append(mark_of(frame.image))
        if len(times) == 75:
            break
    assert times == pytest.approx([k / 25 for k in range(75)])
    assert marks == [*range(30), *range(30), *range(15)]


def test_real_time_takes_the_newest_frame(video):
    reader = VideoReader(video, realtime=True, fps=200, report=pytest.fail)
    account, oldest_welcome, taken = reader.account, 0, []
    for frame in reader:
        # Between two frames of a slow detector five others come.
        assert frame.index >= oldest_welcome
        seen = account.read
        while account.read < min(30, seen + 5):
            threading.Event().wait(0.001)
        # One may be on its way to the place where it waits.
        oldest_welcome = account.read - 2
        account.done(frame.due)
        taken.append(frame.index)
    assert 2 <= len(taken) <= 10
    assert account.read == 30 and account.dropped == 30 - len(taken)
    median, worst = account.take_lags()
    assert 0 < median <= worst


def test_real_time_with_a_quick_detector_drops_little_and_ends(video):
    reader = VideoReader(video, realtime=True)
    frames = [frame.index for frame in reader]
    assert frames == sorted(set(frames)) and frames[-1] == 29
    assert len(frames) + reader.account.dropped == 30


def test_an_error_of_the_reading_thread_is_not_lost(tmp_path):
    (tmp_path / 'a.mp4').write_bytes(b'no video')
    with pytest.raises(VideoError, match='cannot be opened'):
        read(tmp_path / 'a.mp4', realtime=True)


def test_stop_ends_a_camera_from_another_thread():
    live = VideoSource('test picture', 'testsrc=rate=50:size=32x32', 'camera', 'lavfi', live=True)
    reader = VideoReader(live, report=pytest.fail)
    count = 0
    for frame in reader:
        assert frame.image.shape == (32, 32, 3)
        count += 1
        if count == 3:
            thread = threading.Thread(target=reader.stop)
            thread.start()
            thread.join()
    assert count == 3
    assert not [t for t in threading.enumerate() if t.name.startswith('read test')]


class FakeConnection:
    """Frames of a test picture, then a loss."""

    live, start, length, seconds, rate = True, None, None, None, Fraction(1000)

    def __init__(self, frames, error):
        self._frames, self._error = frames, error

    def frames(self):
        from av import VideoFrame

        for k in range(self._frames):
            frame = VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format='bgr24')
            yield frame, k / 1000, ''
        if self._error is not None:
            raise self._error

    def close(self):
        pass


def fake_camera(*openings):
    left = list(openings)

    def connect(source, timeout):
        opening = left.pop(0)
        if isinstance(opening, Exception):
            raise opening
        return FakeConnection(*opening)

    return connect


CAMERA = VideoSource('camera', '/dev/video9', 'camera', live=True)


def test_a_lost_camera_is_opened_again_with_growing_waits():
    away = OSError(19, 'No such device')
    connect = fake_camera((3, away), away, away, away, (2, None), away, away, away, away, away)
    reports = []
    options = dict(attempts=4, first_wait=0.004, longest_wait=0.01, connect=connect)
    reader = VideoReader(CAMERA, realtime=False, report=reports.append, **options)
    times = []
    with pytest.raises(VideoError, match=r'camera is lost .* given up after 4 attempts'):
        for frame in reader:
            times.append(frame.time)
    assert len(times) == 5 and times == sorted(set(times))
    assert times[3] >= times[2] + 0.028, 'the time that it was away counts'
    assert reader.account.reopened == 1 and reader.account.read == 5
    assert [line.rpartition(' in ')[2] for line in reports if 'attempt' in line] == [
        *('0.004 s', '0.008 s', '0.01 s', '0.01 s'),
        *('0.004 s', '0.008 s', '0.01 s', '0.01 s'),
    ]
    assert 'lost (No such device), attempt 1 of 4' in reports[0]
    assert 'open again' in reports[4]
    assert 'lost (the stream ended)' in reports[5]


def test_a_camera_that_opens_without_a_picture_is_tried_again():
    connect = fake_camera((0, None), VideoError('no video in it'), (2, None), (0, None), (0, None))
    reports = []
    reader = VideoReader(
        CAMERA, realtime=False, report=reports.append, attempts=2, first_wait=0, connect=connect
    )
    with pytest.raises(VideoError, match='given up after 2 attempts'):
        list(reader)
    assert reader.account.read == 2 and any('no video in it' in line for line in reports)


def test_a_camera_that_was_never_there_is_an_error_at_once():
    connect = fake_camera(OSError(2, 'No such file or directory'))
    with pytest.raises(VideoError, match='camera cannot be opened: No such file'):
        list(VideoReader(CAMERA, report=pytest.fail, connect=connect))


def test_stop_ends_the_wait_for_a_lost_camera():
    reader = VideoReader(
        CAMERA,
        first_wait=600,
        longest_wait=600,
        connect=fake_camera((1, None)),
        report=lambda line: reader.stop(),
    )
    assert len(list(reader)) <= 1


@contextmanager
def served(answers):
    """A server that answers each request as the next of ``answers`` says; the rest with 404."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.headers.get('Range'))
            if not answers:
                self.send_error(404)
                return
            answers.pop(0)(self)
            self.close_connection = True

        def log_message(self, *_):
            pass

    requests = []
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.02))
        thread.start()
        yield SimpleNamespace(
            url=f'http://user:secret@127.0.0.1:{server.server_address[1]}', requests=requests
        )
        server.shutdown()
        thread.join()


def test_a_stream_that_dies_and_comes_back(tmp_path):
    data = make_video(tmp_path / 'a.ts').read_bytes()

    def stream(handler):
        handler.send_response(200)
        handler.send_header('Content-Type', 'video/mp2t')
        handler.end_headers()
        handler.wfile.write(data)

    reports = []
    with served([stream, stream]) as server:
        reader = VideoReader(
            f'{server.url}/live.ts',
            realtime=False,
            report=reports.append,
            attempts=2,
            first_wait=0.01,
        )
        times = []
        with pytest.raises(VideoError, match='given up after 2 attempts'):
            for frame in reader:
                times.append(frame.time)
    assert reader.account.read == 60 and reader.account.reopened == 1
    assert times == sorted(set(times))
    assert reports and not any('secret' in line for line in reports)


def test_a_file_of_a_server_goes_on_where_the_connection_broke(tmp_path):
    data = make_video(tmp_path / 'a.mp4', 200, movflags='faststart').read_bytes()

    def part(share):
        def answer(handler):
            first = int((handler.headers.get('Range') or 'bytes=0-')[6:].split('-')[0])
            handler.send_response(206 if 'Range' in handler.headers else 200)
            handler.send_header('Accept-Ranges', 'bytes')
            handler.send_header('Content-Range', f'bytes {first}-{len(data) - 1}/{len(data)}')
            handler.send_header('Content-Length', str(len(data) - first))
            handler.end_headers()
            handler.wfile.write(data[first : max(first, int(share * len(data)))])

        return answer

    with served([part(0.5)] + [part(1.0)] * 6) as server:
        frames, account, reports = read(f'{server.url}/a.mp4', first_wait=0.01, attempts=3)
    assert [mark_of(frame.image) for frame in frames] == list(range(200))
    assert account.reopened == 1 and any('lost (' in line for line in reports)


def test_passwords_are_not_shown():
    with served([]) as server:
        with pytest.raises(VideoError) as caught:
            list(VideoReader(f'{server.url}/a.mp4'))
    assert '127.0.0.1' in str(caught.value) and 'secret' not in str(caught.value)


@pytest.mark.parametrize(
    ('name', 'address', 'format', 'live'),
    [
        ('0', '/dev/video0', 'v4l2', True),
        ('/dev/video12', '/dev/video12', 'v4l2', True),
        ('rtsp://10.0.0.2/a', 'rtsp://10.0.0.2/a', None, True),
        ('http://10.0.0.2/a.mp4', 'http://10.0.0.2/a.mp4', None, False),
    ],
)
def test_what_names_mean(name, address, format, live):
    source = video_source(name)
    assert (source.address, source.format, source.live) == (address, format, live)


def test_names_of_nothing_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match='no file that is there'):
        video_source(tmp_path / 'none.mp4')


def test_live_sources_have_no_pace_and_no_end(video):
    with pytest.raises(DemoError, match='is live: it cannot be looped'):
        VideoReader('rtsp://10.0.0.2/a', loop=True)
    with pytest.raises(DemoError, match='fps must be above 0'):
        VideoReader(video, fps=0)


def test_without_pyav_the_message_says_what_to_install(video, monkeypatch):
    monkeypatch.setitem(sys.modules, 'av', None)
    with pytest.raises(RuntimeMissingError, match='pip install av'):
        VideoReader(video)
    with pytest.raises(RuntimeMissingError, match='pip install av'):
        VideoConnection(video_source(video))


PUBLISH = """
import sys, time
import av
import numpy as np
for _ in range(100):  # until somebody listens
    try:
        container = av.open(sys.argv[1], 'w', format='rtsp', options=dict(rtsp_transport='tcp'))
        stream = container.add_stream('h264', rate=25, options=dict(tune='zerolatency'))
        stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
        for k in range(int(sys.argv[2])):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format='bgr24')
            frame.pts = k
            container.mux(stream.encode(frame))
            time.sleep(0.01)
        container.mux(stream.encode(None))
        container.close()
        break
    except OSError:
        time.sleep(0.1)
"""


@pytest.mark.slow
def test_rtsp_that_dies_and_comes_back():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        url = f'rtsp://127.0.0.1:{probe.getsockname()[1]}/live'
    # The reader is the server here, which the camera would be.
    options = dict(rtsp_flags='listen', listen_timeout='6', rtsp_transport='tcp')
    source = VideoSource('camera', url, 'url', options=options, live=True)
    publishers = subprocess.Popen(
        f'"{sys.executable}" -c "$CODE" {url} 30; "{sys.executable}" -c "$CODE" {url} 20',
        shell=True,
        env=dict(os.environ, CODE=PUBLISH),
    )
    reports = []
    reader = VideoReader(source, report=reports.append, attempts=2, first_wait=0.1, timeout=10)
    times = []
    with pytest.raises(VideoError, match='given up after 2 attempts'):
        for frame in reader:
            times.append(frame.time)
    assert publishers.wait(30) == 0
    assert reader.account.read == 50 and reader.account.reopened == 1
    assert times == sorted(set(times)) and len(times) + reader.account.dropped == 50
