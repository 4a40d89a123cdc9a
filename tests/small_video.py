# SPDX-License-Identifier: Apache-2.0
"""Small generated videos, ways to break them, and a detector that needs no model."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from mmdet_mobilenext.runtime.detections import Detections

CLASSES = ('aeroplane', 'bicycle', 'boat')
TICKS = 90_000


def make_video(
    path: Path,
    frames: int = 30,
    fps: float = 25,
    size: tuple[int, int] = (96, 64),
    times: Sequence[float] | None = None,
    **options: str,
) -> Path:
    """A generated scene that moves; frame k is marked with k, see :func:`mark_of`."""
    # Needs mmengine, which processes without torch do not have.
    from mmdet_mobilenext.datasets.generated_scenes import make_scene

    width, height = size
    scene = make_scene(np.random.default_rng(0), (192, 192), False).image.astype(np.uint8)
    with av.open(str(path), 'w', options=options) as container:
        stream = container.add_stream('h264', rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
        stream.codec_context.time_base = Fraction(1, TICKS)
        # Short groups, so that damage does not reach the end of so short a video.
        stream.options = dict(crf='10', preset='ultrafast', g='10', bf='0')
        for k in range(frames):
            image = np.ascontiguousarray(scene[k % 30 : k % 30 + height, :width])
            _mark(image, k)
            frame = av.VideoFrame.from_ndarray(image, format='bgr24')
            time = k / fps if times is None else times[k]
            frame.pts, frame.time_base = round(time * TICKS), Fraction(1, TICKS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _mark(image: np.ndarray, number: int) -> None:
    for bit in range(8):
        image[:16, 8 * bit : 8 * bit + 8] = 255 * (number >> bit & 1)


def mark_of(image: np.ndarray) -> int:
    """The number that a frame is marked with."""
    return sum(int(image[3:13, 8 * bit + 2 : 8 * bit + 6].mean() > 127) << bit for bit in range(8))


def damage(path: Path, packets: Sequence[int]) -> Path:
    """Flip the bytes of packets, numbered as in the file."""
    with av.open(str(path)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for number in packets:
        start, size = places[number]
        for k in range(start + 8, start + size):
            data[k] ^= 0x5A
    path.write_bytes(data)
    return path


def turn(path: Path) -> Path:
    """Say that the picture is to be turned by 90 degrees clockwise, as telephones do."""
    data = path.read_bytes()
    one = 0x10000
    upright = struct.pack('>9i', one, 0, 0, 0, one, 0, 0, 0, 0x40000000)
    turned = struct.pack('>9i', 0, one, 0, -one, 0, 0, 0, 0, 0x40000000)
    place = data.index(upright, data.index(b'tkhd'))
    path.write_bytes(data[:place] + turned + data[place + len(upright) :])
    return path


class FakeDetector:
    """Finds one object in every image; ``work`` is called for each."""

    classes = CLASSES

    def __init__(self, work=lambda image: None, score: float = 0.9) -> None:
        self.work, self.score, self.batches = work, score, []

    def __call__(self, images):
        if isinstance(images, np.ndarray):
            return self([images])[0]
        self.batches.append(len(images))
        return [self._one(image) for image in images]

    def _one(self, image: np.ndarray) -> Detections:
        self.work(image)
        height, width = image.shape[:2]
        return Detections(
            np.array([[4, 20, width - 4, height - 4], [1, 1, 9, 9]], np.float32),
            np.array([self.score, 0.1], np.float32),
            np.array([1, 2]),
            CLASSES,
            (width, height),
        )
