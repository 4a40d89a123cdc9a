# SPDX-License-Identifier: Apache-2.0
"""Write pictures with their times as an MP4 file."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from .errors import DemoError
from .unfinished import UnfinishedFile
from .video_source import import_av

__all__ = ['VideoWriter']

_TIME_BASE = Fraction(1, 90_000)  # holds the usual rates (24, 25, 29.97, 30, 60) exactly


class VideoWriter:
    """Encode pictures as H.264 with the times that they are given.

    The file is written beside and renamed when it is complete. As a context manager it is finished
    after Ctrl-C, and thrown away after any other exception.

    Args:
        path (str | os.PathLike): File to write, ``.mp4``; replaced if it is there.
        rate (float): Frames per second that the file names; times count, not this. Default: 25.
        crf (int): Quality of x264, 0 (lossless) to 51. Default: 23.

    Attributes:
        frames (int): Pictures written.

    Raises:
        RuntimeMissingError: If PyAV is not installed.
        DemoError: If the name does not end in ``.mp4``.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / 'out.mp4'
        >>> with VideoWriter(path) as writer:
        ...     for k in range(3):
        ...         writer.write(np.zeros((48, 64, 3), np.uint8), k / 25)
        >>> path.stat().st_size > 0
        True
    """

    def __init__(self, path: str | os.PathLike, rate: float = 25.0, crf: int = 23) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() != '.mp4':
            raise DemoError(f'the name of an output video must end in .mp4, not {self.path.name}')
        self._av = import_av()
        self._rate = Fraction(rate).limit_denominator(1001)
        self._crf = crf
        self._unfinished = None
        self._container = None
        self._stream = None
        self._last = -1
        self.frames = 0

    def write(self, image: np.ndarray, time: float) -> None:
        """Add a picture.

        Args:
            image (np.ndarray): (H, W, 3) uint8, BGR. One of another size than the first is
                stretched to the first.
            time (float): When it is shown, in seconds, later than the one before.
        """
        if self._container is None:
            self._open(*image.shape[:2])
        height, width = self._size
        if image.shape[:2] != self._size:
            image = cv2.resize(image, (width, height))
        if height % 2 or width % 2:  # yuv420p halves the colours' resolution
            image = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format='bgr24')
        self._last = max(round(time / _TIME_BASE), self._last + 1)
        frame.pts, frame.time_base = self._last, _TIME_BASE
        self._container.mux(self._stream.encode(frame))
        self.frames += 1

    def _open(self, height: int, width: int) -> None:
        self._size = height, width
        self._unfinished = UnfinishedFile(self.path)
        name = f'file:{self._unfinished.name.absolute()}'
        self._container = self._av.open(name, 'w', format='mp4')
        self._stream = self._container.add_stream(
            'h264', rate=self._rate, options={'crf': str(self._crf), 'preset': 'veryfast'}
        )
        self._stream.width, self._stream.height = width + width % 2, height + height % 2
        self._stream.pix_fmt = 'yuv420p'
        self._stream.codec_context.time_base = _TIME_BASE

    def close(self) -> None:
        """Finish the file and put it in place. Without a picture there is none."""
        if self._container is None:
            return
        try:
            self._container.mux(self._stream.encode(None))
            container, self._container = self._container, None
            container.close()
            self._unfinished.finish()
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Throw away what was written."""
        if self._container is not None:
            self._container.close()
            self._container = None
        if self._unfinished is not None:
            self._unfinished.discard()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None or issubclass(kind, KeyboardInterrupt):
            self.close()
        else:
            self.discard()
