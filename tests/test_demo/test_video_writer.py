# SPDX-License-Identifier: Apache-2.0
"""Writing videos: times, sizes, and files that are whole or not there."""

from __future__ import annotations

import av
import numpy as np
import pytest
from small_video import make_video
from without_torch import run_without_torch

from mmdet_mobilenext.demo.errors import DemoError
from mmdet_mobilenext.demo.video_reader import VideoReader
from mmdet_mobilenext.demo.video_writer import VideoWriter

RATES = {'ntsc': 30000 / 1001, 'film': 24, 'fast': 120}


def picture(width=64, height=48, value=90):
    return np.full((height, width, 3), value, np.uint8)


def decoded(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [frame.time for frame in container.decode(stream)], stream


@pytest.mark.parametrize('rate', RATES.values(), ids=RATES)
def test_times_of_a_long_video_do_not_drift(tmp_path, rate):
    with VideoWriter(tmp_path / 'a.mp4', rate) as writer:
        for k in range(300):
            writer.write(picture(), k / rate)
    times, _ = decoded(tmp_path / 'a.mp4')
    assert times == pytest.approx([k / rate for k in range(300)], abs=1 / 90_000)


def test_uneven_times_of_a_source_come_back(tmp_path):
    times = [0, 0.04, 0.5, 0.54, 2.0, 61.0]
    source = make_video(tmp_path / 'a.mp4', 6, times=times)
    with VideoWriter(tmp_path / 'b.mp4') as writer:
        for frame in VideoReader(source):
            writer.write(frame.image, frame.time)
    assert decoded(tmp_path / 'b.mp4')[0] == pytest.approx(times, abs=1e-4)


@pytest.mark.parametrize('size', [(63, 47), (64, 47), (17, 48)])
def test_odd_sizes_get_a_line_more(tmp_path, size):
    with VideoWriter(tmp_path / 'a.mp4') as writer:
        writer.write(picture(*size), 0)
    _, stream = decoded(tmp_path / 'a.mp4')
    assert (stream.width, stream.height) == (size[0] + size[0] % 2, size[1] + size[1] % 2)
    assert stream.pix_fmt == 'yuv420p' and stream.codec_context.name == 'h264'


def test_a_picture_of_another_size_is_stretched(tmp_path):
    with VideoWriter(tmp_path / 'a.mp4') as writer:
        writer.write(picture(), 0)
        writer.write(picture(32, 30), 0.04)
    assert len(decoded(tmp_path / 'a.mp4')[0]) == writer.frames == 2


def test_times_that_do_not_grow_are_moved(tmp_path):
    with VideoWriter(tmp_path / 'a.mp4') as writer:
        for time in (1.0, 1.0, 0.5):
            writer.write(picture(), time)
    assert len(set(decoded(tmp_path / 'a.mp4')[0])) == 3


def test_an_error_leaves_the_file_that_was_there(tmp_path):
    (tmp_path / 'a.mp4').write_bytes(b'before')
    with pytest.raises(ZeroDivisionError), VideoWriter(tmp_path / 'a.mp4') as writer:
        writer.write(picture(), 0)
        raise ZeroDivisionError
    assert (tmp_path / 'a.mp4').read_bytes() == b'before'
    assert len(list(tmp_path.iterdir())) == 1


def test_ctrl_c_keeps_what_was_written(tmp_path):
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / 'a.mp4') as writer:
        writer.write(picture(), 0)
        raise KeyboardInterrupt
    assert len(decoded(tmp_path / 'a.mp4')[0]) == 1


def test_without_a_picture_there_is_no_file(tmp_path):
    with VideoWriter(tmp_path / 'a.mp4'):
        pass
    assert not list(tmp_path.iterdir())


def test_other_formats_are_refused(tmp_path):
    with pytest.raises(DemoError, match=r'must end in \.mp4, not a\.avi'):
        VideoWriter(tmp_path / 'a.avi')


FULL_DISK = """
import resource, sys
import numpy as np
from mmdet_mobilenext.demo.video_writer import VideoWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
rng = np.random.default_rng(0)
try:
    with VideoWriter(sys.argv[1]) as writer:
        for k in range(100):
            writer.write(rng.integers(0, 255, (64, 64, 3), np.uint8), k / 25)
except OSError as error:
    print('raised', error)
"""


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path):
    path = tmp_path / 'a.mp4'
    done = run_without_torch(FULL_DISK, path)
    assert not done.returncode, done.stderr
    assert 'raised' in done.stdout and 'File too large' in done.stdout
    assert not list(tmp_path.iterdir())
