# SPDX-License-Identifier: Apache-2.0
"""One opened video: its frames one by one, damaged ones told apart."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from .errors import VideoError
from .video_source import VideoSource, import_av

if TYPE_CHECKING:
    import av

__all__ = ['VideoConnection', 'upright', 'why']

_MAX_BAD_READS = 100  # without a packet in between: the rest of a file is no video


def why(error: Exception) -> str:
    """The reason of an error of FFmpeg, without the address, which may hold a password.

    Args:
        error (Exception): What was raised.

    Returns:
        str: One line.

    Example:
        >>> why(OSError(5, 'Input/output error', 'rtsp://admin:secret@10.0.0.2/live'))
        'Input/output error'
    """
    if type(error).__name__ == 'ExitError':  # 'Immediate exit requested', by the timeout
        return 'no data before the timeout'
    return getattr(error, 'strerror', None) or str(error) or type(error).__name__


class VideoConnection:
    """A video that is open, until it ends or is lost.

    Args:
        source (VideoSource): What to open.
        timeout (float): Seconds to wait for a connection or for data. Default: 10.0.

    Attributes:
        rate (Fraction): Frames per second on average, as the video says; 25 if it does not.
        live (bool): Whether the video has no end.
        start (float | None): Time stamp at which the video begins, in seconds.
        seconds (float | None): Length of a file, if it tells.
        length (int | None): Frames, if the file has an index.

    Raises:
        VideoError: If there is no video stream in it.
        OSError: If it cannot be opened; also PyAV's errors, which are no OSError.
    """

    def __init__(self, source: VideoSource, timeout: float = 10.0) -> None:
        self._av = import_av()
        self._container = self._av.open(
            source.address,
            format=source.format,
            options=dict(source.options),
            timeout=timeout,
            # Names inside a file may be in any encoding; none of them is used.
            metadata_errors='ignore',
        )
        stream = self._container.streams.best('video')
        if stream is None:
            self.close()
            raise VideoError(f'{source.name} has no video in it')
        self._stream = stream
        self.rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
        self.live = source.live or (source.kind == 'url' and self._container.duration is None)
        self.start = None
        if not self.live and stream.start_time is not None:
            self.start = float(stream.start_time * stream.time_base)
        self.seconds = None
        if stream.duration is not None:
            self.seconds = float(stream.duration * stream.time_base)
        self.length = stream.frames or None
        self._packets = 0

    def frames(self) -> Iterator[tuple[av.VideoFrame | None, float | None, str]]:
        """Frames in the order in which they are shown.

        Yields:
            tuple[av.VideoFrame | None, float | None, str]: Frame, or None if it is damaged; its
            time stamp in seconds, if it has one; what is wrong with it.

        Raises:
            OSError: If the source is lost; also PyAV's errors, which are no OSError.
        """
        for packet in self._read():
            stamp = None if packet.pts is None else float(packet.pts * packet.time_base)
            try:
                frames = packet.decode()
            except self._av.error.InvalidDataError as error:
                yield None, stamp, why(error)
                continue
            for frame in frames:
                if frame.is_corrupt:
                    yield None, frame.time, 'decoded with errors'
                else:
                    yield frame, frame.time, ''

    def _read(self) -> Iterator[av.Packet]:
        """Packets, over places where there is none."""
        bad = 0
        while True:
            try:
                for packet in self._container.demux(self._stream):
                    bad = 0
                    self._packets += packet.size > 0
                    yield packet
                return
            except self._av.error.InvalidDataError:
                # The demuxer goes on behind the bytes that it could not read.
                bad += 1
                if bad > _MAX_BAD_READS:
                    raise

    def missing(self) -> int:
        """Frames that the file's index promises and the file does not have, after its end.

        Returns:
            int: 0 where there is no index.
        """
        return max(0, (self.length or 0) - self._packets)

    def seek(self, seconds: float) -> None:
        """Go on at the last key frame before a time.

        Args:
            seconds (float): Time stamp.
        """
        self._container.seek(int(seconds / self._stream.time_base), stream=self._stream)

    def close(self) -> None:
        """Close the file or the connection."""
        self._container.close()


def upright(frame: av.VideoFrame) -> np.ndarray:
    """A frame as a picture, turned as its rotation says.

    Args:
        frame (av.VideoFrame): Decoded.

    Returns:
        np.ndarray: (H, W, 3) uint8, BGR.
    """
    image = frame.to_ndarray(format='bgr24')
    turns = round(frame.rotation / 90) % 4  # counter-clockwise
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image
