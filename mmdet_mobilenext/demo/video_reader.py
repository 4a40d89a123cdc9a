# SPDX-License-Identifier: Apache-2.0
"""Frames of a video file, a network stream or a camera, over damage and lost connections."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .errors import DemoError, VideoError
from .frame_account import FrameAccount
from .newest import newest
from .video_connection import VideoConnection, upright, why
from .video_source import VideoSource, import_av, video_source

if TYPE_CHECKING:
    import av

__all__ = ['VideoFrame', 'VideoReader']


@dataclass(frozen=True)
class VideoFrame:
    """A picture and its place in the video.

    Args:
        image (np.ndarray): (H, W, 3) uint8, BGR, upright.
        index (int): Place among all frames of the source, damaged ones included, from 0.
        time (float): Seconds since the video began. Grows from frame to frame.
        due (float | None): When the frame was there, in seconds of ``time.monotonic``; None where
            no clock counts.
    """

    image: np.ndarray
    index: int
    time: float
    due: float | None


@dataclass(frozen=True)
class _Decoded:
    frame: av.VideoFrame
    index: int
    time: float
    due: float | None


class VideoReader:
    """Read a video, once; iterating gives :class:`VideoFrame`.

    Damaged frames are reported, counted and passed over. Files end; a camera or stream that is lost
    is opened again, after waits that double each time. In real time a thread reads ahead, the
    newest frame is taken and older ones are dropped, so that a slow detector sees the present and
    its lag does not grow.

    Args:
        source (str | os.PathLike | VideoSource): File, address or camera, see
            :func:`~mmdet_mobilenext.demo.video_source.video_source`.
        realtime (bool | None): Whether frames count when they are due. A file is then read at its
            pace. Default: None, for live sources alone.
        loop (bool): Whether a file starts again when it ends. Default: False.
        fps (float | None): Pace of a file in frames per second, instead of its time stamps.
            Default: None.
        attempts (int): Openings of a lost source in a row before it is given up. Default: 10.
        first_wait (float): Seconds before the first of them. Default: 1.0.
        longest_wait (float): Bound of the waits in seconds. Default: 30.0.
        timeout (float): Seconds without data after which a source counts as lost. Default: 10.0.
        report (Callable[[str], None]): Gets a line about each damaged frame and each loss.
            Default: print.
        connect (Callable[[VideoSource, float], VideoConnection]): Opens a source. Default:
            :class:`~mmdet_mobilenext.demo.video_connection.VideoConnection`.

    Attributes:
        account (FrameAccount): Counts of frames.
        source (VideoSource): What is read.
        rate (float | None): Frames per second; None before the first frame.
        length (int | None): Frames of a file, if its index tells; known with the first frame.
        began (float | None): ``time.monotonic`` at time 0 of the video, as far as is known.

    Raises:
        FileNotFoundError: If there is no such file.
        RuntimeMissingError: If PyAV is not installed.
        DemoError: If ``loop`` or ``fps`` is given for a live source.
    """

    def __init__(
        self,
        source: str | os.PathLike | VideoSource,
        *,
        realtime: bool | None = None,
        loop: bool = False,
        fps: float | None = None,
        attempts: int = 10,
        first_wait: float = 1.0,
        longest_wait: float = 30.0,
        timeout: float = 10.0,
        report: Callable[[str], None] = print,
        connect: Callable[[VideoSource, float], VideoConnection] = VideoConnection,
    ) -> None:
        self.source = source if isinstance(source, VideoSource) else video_source(source)
        if self.source.live and (loop or fps):
            raise DemoError(
                f'{self.source.name} is live: it cannot be looped or given another pace; leave '
                'loop and fps out'
            )
        if fps is not None and not fps > 0:
            raise DemoError(f'fps must be above 0, not {fps}')
        self.realtime = self.source.live if realtime is None else realtime
        self.loop = loop
        self.fps = fps
        self.attempts = attempts
        self.first_wait = first_wait
        self.longest_wait = longest_wait
        self.timeout = timeout
        self.report = report
        self.account = FrameAccount()
        self.rate = fps
        self.length = None
        self._connect = connect
        # PyAV's errors derive from OSError, ValueError, RuntimeError, ...: this is their base.
        self._av_error = import_av().error.FFmpegError
        self._stop = threading.Event()
        self.began = None
        self._last = None  # time of the last frame
        self._reached = 0.0  # time of the last frame or damaged packet

    def stop(self) -> None:
        """End the iteration after the frame that is being worked on; from any thread."""
        self._stop.set()

    def frames_due(self, now: float) -> int:
        """Frames that the clock says should have been read.

        Args:
            now (float): Of ``time.monotonic``.

        Returns:
            int: 0 before the first frame.
        """
        return 0 if self.began is None else int((now - self.began) * self.rate) + 1

    def __iter__(self) -> Iterator[VideoFrame]:
        frames = self._all()
        if self.realtime:
            frames = newest(frames, self.account, self._stop, f'read {self.source.name}')
        try:
            for item in frames:
                if self._stop.is_set():
                    return
                # Converted here: a frame that is dropped costs its decoding alone.
                yield VideoFrame(upright(item.frame), item.index, item.time, item.due)
        finally:
            self._stop.set()
            frames.close()

    def _all(self) -> Iterator[_Decoded]:
        """All frames, over the end of a looped file and over losses."""
        failures = 0
        opened = False
        while not self._stop.is_set():
            before = self.account.read
            try:
                with closing(self._connect(self.source, self.timeout)) as connection:
                    if failures:
                        self.account.reopened += 1
                        self.report(f'{self.source.name}: open again')
                    lost = yield from self._one_connection(connection)
                    opened = True
                    missing = 0 if connection.live else connection.missing()
                if self._stop.is_set():
                    return
                if not lost and self._is_cut_short(connection):
                    lost = 'the connection ended early'
                if missing and self.source.kind == 'file' and not lost:
                    self.report(f'{self.source.name}: ends early, {missing} frames are missing')
                if not connection.live and not lost:
                    if self.loop and self.account.read > before:
                        failures = 0
                        continue
                    return
                lost = lost or 'the stream ended'
            except (self._av_error, OSError, VideoError) as error:
                if not opened and isinstance(error, VideoError):
                    raise
                if not opened:
                    raise VideoError(
                        f'{self.source.name} cannot be opened: {why(error)}'
                    ) from error
                lost = why(error)
            if self.source.kind == 'file':
                self.report(f'{self.source.name}: the rest cannot be read ({lost})')
                return
            failures = 1 if self.account.read > before else failures + 1
            self._wait_to_reopen(failures, lost)

    def _is_cut_short(self, connection: VideoConnection) -> bool:
        """Whether the server closed the connection before the end of a file."""
        if self.source.kind != 'url' or connection.live or self.loop or connection.seconds is None:
            return False
        return self._reached + 2 / float(connection.rate) < connection.seconds

    def _wait_to_reopen(self, failures: int, lost: str) -> None:
        if failures > self.attempts:
            raise VideoError(
                f'{self.source.name} is lost ({lost}); given up after {self.attempts} attempts'
            )
        wait = min(self.longest_wait, self.first_wait * 2 ** (failures - 1))
        self.report(
            f'{self.source.name}: lost ({lost}), attempt {failures} of {self.attempts} '
            f'in {wait:.3g} s'
        )
        self._stop.wait(wait)

    def _one_connection(self, connection: VideoConnection) -> Iterator[_Decoded]:
        """Frames until the video ends, which returns '', or is lost, which returns the reason."""
        step = 1 / (self.fps or float(connection.rate))
        self.rate = self.fps or float(connection.rate)
        self.length = None if self.loop or connection.live else connection.length
        start, offset = connection.start, 0.0
        again = self._last is not None
        resumed = again and not connection.live and not self.loop
        if again and connection.live:
            offset = max(self._last + step, time.monotonic() - self.began)
        elif again and self.loop:
            offset = self._last + step
        try:
            if resumed:
                with suppress(self._av_error):  # it is read from its beginning then
                    connection.seek(self._last + (start or 0.0))
            for frame, stamp, problem in connection.frames():
                if self._stop.is_set():
                    return ''
                if start is None and stamp is not None:
                    start = stamp
                when = None if stamp is None else stamp - start + offset
                if resumed and when is not None and when <= self._last:
                    continue
                if frame is None:
                    self._count_damaged(when, problem)
                    continue
                yield self._placed(frame, when, step, connection.live)
        except (self._av_error, OSError) as error:
            return why(error)
        return ''

    def _count_damaged(self, when: float | None, problem: str) -> None:
        account = self.account
        at = '' if when is None else f' at {when:.3f} s'
        self.report(
            f'{self.source.name}: frame {account.read + account.damaged}{at} is damaged and '
            f'skipped ({problem})'
        )
        account.damaged += 1
        self._reached = max(self._reached, when or 0.0)

    def _placed(
        self, frame: av.VideoFrame, when: float | None, step: float, live: bool
    ) -> _Decoded:
        """Give a frame its time, and in real time wait until a file's frame is due."""
        index = self.account.read + self.account.damaged
        self.account.read += 1
        if self.fps:
            when = index * step
        elif when is None or (self._last is not None and when <= self._last):
            when = 0.0 if self._last is None else self._last + step
        self._last = when
        self._reached = max(self._reached, when)
        now = time.monotonic()
        if self.began is None or live:
            # The frame that came fastest tells best when the camera began.
            began = now - when
            self.began = began if self.began is None else min(self.began, began)
        if not self.realtime:
            return _Decoded(frame, index, when, None)
        due = self.began + when
        if not live and due > now:
            self._stop.wait(due - now)
        return _Decoded(frame, index, when, due)
