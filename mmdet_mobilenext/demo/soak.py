# SPDX-License-Identifier: Apache-2.0
"""Run the video path for hours at a video's pace: does it keep up, and does its memory grow?"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mmdet_mobilenext.runtime.detections import Detections
from mmdet_mobilenext.runtime.drawing import DetectionDrawer
from mmdet_mobilenext.runtime.errors import RuntimeMissingError

from .stopping import StopSignals
from .unfinished import UnfinishedFile
from .video_reader import VideoReader
from .video_writer import VideoWriter

__all__ = ['soak', 'verdict_of']

_MB = 2**20
_MIN_SECONDS = 600  # of lines after the warm-up; a slope of less tells nothing in MB/h


def soak(
    video: str | os.PathLike,
    detector: Callable[[np.ndarray], Detections],
    out_dir: str | os.PathLike,
    *,
    minutes: float = 120.0,
    every: float = 30.0,
    fps: float | None = None,
    roll: float = 60.0,
    warm_up: float = 5.0,
    max_slope: float = 5.0,
    score_thr: float = 0.3,
    report: Callable[[str], None] = print,
) -> dict:
    """Read a looped video in real time, detect, draw and encode.

    ``soak.jsonl`` in ``out_dir`` gets a line every ``every`` seconds, ``verdict.json`` the end,
    also after SIGTERM or Ctrl-C. ``soak.mp4`` holds the last ``roll`` seconds that are complete, so
    that the disk does not fill.

    Args:
        video (str | os.PathLike): File.
        detector (Callable[[np.ndarray], Detections]): With ``classes``.
        out_dir (str | os.PathLike): Folder for the three files; of an earlier run they are
            replaced.
        minutes (float): Length. Default: 120.0.
        every (float): Seconds between two lines. Default: 30.0.
        fps (float | None): Pace; None is that of the video. Default: None.
        roll (float): Seconds of one output file. Default: 60.0.
        warm_up (float): Minutes at the beginning that the slope of the memory leaves out.
            Default: 5.0.
        max_slope (float): Growth of the memory in MB/h from which it counts as a leak.
            Default: 5.0.
        score_thr (float): Least score that is drawn. Default: 0.3.
        report (Callable[[str], None]): Gets each line. Default: print.

    Returns:
        dict: The verdict, see :func:`verdict_of`.

    Raises:
        VideoError: If the video cannot be read.
        RuntimeMissingError: If PyAV, psutil or supervision is not installed.
    """
    out_dir = Path(out_dir)
    draw = DetectionDrawer(detector.classes)
    problems: list[str] = []  # about damaged frames; the first few tell enough

    def note(line: str) -> None:
        if len(problems) < 20:
            problems.append(line)

    reader = VideoReader(video, realtime=True, loop=True, fps=fps, report=note)
    sampler = _Sampler(reader)
    out_dir.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    end, next_line, next_roll = started + 60 * minutes, started + every, 0.0
    writer, rows = None, []
    with StopSignals(reader.stop) as stop, open(out_dir / 'soak.jsonl', 'w') as log:

        def add_row() -> None:
            rows.append(sampler.row())
            line = json.dumps(rows[-1])
            log.write(line + '\n')
            log.flush()
            report(line)

        try:
            for frame in reader:
                found = detector(frame.image).above(score_thr)
                drawn = draw(frame.image, found)
                if writer is None or frame.time >= next_roll:
                    if writer is not None:
                        writer.close()
                    writer = VideoWriter(out_dir / 'soak.mp4', reader.rate)
                    began, next_roll = frame.time, frame.time + roll
                writer.write(drawn, frame.time - began)
                reader.account.written += 1
                reader.account.done(frame.due)
                now = time.monotonic()
                if now >= next_line:
                    add_row()
                    next_line += every * (1 + (now - next_line) // every)
                if now >= end:
                    break
            if writer is not None:
                writer.close()
        except BaseException:
            if writer is not None:
                writer.discard()
            raise
        finally:
            reader.stop()
        add_row()
    ended = stop.name or ('time' if time.monotonic() >= end else 'end of the video')
    verdict = dict(ended=ended, video=os.path.basename(video), minutes_asked=minutes)
    verdict |= verdict_of(rows, 60 * warm_up, max_slope) | dict(reports=problems)
    content = json.dumps(verdict, indent=2) + '\n'
    UnfinishedFile.write(out_dir / 'verdict.json', content.encode())
    return verdict


class _Sampler:
    """State of the process and counts of frames."""

    def __init__(self, reader: VideoReader) -> None:
        try:
            import psutil
        except ImportError as error:
            raise RuntimeMissingError(
                f'a soak test needs psutil ({error}): `pip install psutil`'
            ) from error
        self._process = psutil.Process()
        self._reader = reader
        self._before = None

    def row(self) -> dict:
        now, account = time.monotonic(), self._reader.account
        due = self._reader.frames_due(now)
        median, worst = account.take_lags()
        then, processed = self._before or (self._reader.began, 0)
        self._before = now, account.processed
        seconds = now - then if then is not None else 0.0
        return dict(
            elapsed_s=round(now - (self._reader.began or now), 2),
            frames_due=due,
            **account.counts(),
            lag_ms_median=median,
            lag_ms_max=worst,
            fps=round((account.processed - processed) / seconds, 2) if seconds else 0.0,
            rss_mb=round(self._process.memory_info().rss / _MB, 2),
            descriptors=self._process.num_fds(),
            threads=self._process.num_threads(),
        )


def verdict_of(rows: Sequence[dict], warm_up: float = 300.0, max_slope: float = 5.0) -> dict:
    """Judge a soak test by its lines.

    Args:
        rows (Sequence[dict]): Lines of ``soak.jsonl``.
        warm_up (float): Seconds at the beginning that the memory's slope leaves out.
            Default: 300.0.
        max_slope (float): Growth of the memory in MB/h that is no leak. Default: 5.0.

    Returns:
        dict: ``passed`` (bool; None without a fault and without a slope), ``faults`` (list[str]),
        ``memory_slope_mb_per_hour`` (least squares; None for less than ten minutes after the
        warm-up), memory at both ends in MB,
        ``frames_behind`` (frames due by the clock that have not been read), lags in ms, counts.

    Example:
        >>> row = dict(elapsed_s=0, frames_due=0, read=0, damaged=0, dropped=0, processed=0,
        ...            written=0, reopened=0, lag_ms_median=20.0, lag_ms_max=30.0, fps=25.0,
        ...            rss_mb=100.0, descriptors=9, threads=4)
        >>> later = dict(row, elapsed_s=3600, frames_due=90000, read=90000, rss_mb=103.0)
        >>> verdict = verdict_of([row, dict(row, elapsed_s=1800, rss_mb=101.5), later], warm_up=0)
        >>> verdict['memory_slope_mb_per_hour'], verdict['passed']
        (3.0, True)
    """
    last = rows[-1]
    counted = [row for row in rows if row['elapsed_s'] >= warm_up]
    slope = None
    if len(counted) > 2 and counted[-1]['elapsed_s'] - counted[0]['elapsed_s'] >= _MIN_SECONDS:
        hours = [row['elapsed_s'] / 3600 for row in counted]
        slope = round(float(np.polyfit(hours, [row['rss_mb'] for row in counted], 1)[0]), 2)
    behind = last['frames_due'] - last['read'] - last['damaged']
    medians = [row['lag_ms_median'] for row in rows if row['lag_ms_median'] is not None]
    maxima = [row['lag_ms_max'] for row in rows if row['lag_ms_max'] is not None]
    first = (counted or rows)[0]
    rate = last['frames_due'] / last['elapsed_s'] if last['elapsed_s'] else 0.0
    faults = []
    if slope is not None and slope > max_slope:
        faults.append(f'memory grows by {slope} MB/h, above {max_slope}')
    if behind > max(2.0, rate):
        faults.append(f'reading is {behind} frames behind the clock, more than a second')
    if last['descriptors'] > first['descriptors'] + 2:
        faults.append(f'open files grew from {first["descriptors"]} to {last["descriptors"]}')
    if last['threads'] > first['threads'] + 2:
        faults.append(f'threads grew from {first["threads"]} to {last["threads"]}')
    if len(medians) > 2 and medians[-1] > 1000 + medians[len(medians) // 2]:
        faults.append(f'the lag grew to {medians[-1]} ms')
    passed = False if faults else None if slope is None else True
    return dict(
        passed=passed,
        faults=faults,
        elapsed_s=last['elapsed_s'],
        memory_slope_mb_per_hour=slope,
        memory_mb_after_warm_up=first['rss_mb'],
        memory_mb_at_end=last['rss_mb'],
        frames_due=last['frames_due'],
        frames_behind=behind,
        **{
            name: last[name]
            for name in ('read', 'damaged', 'dropped', 'processed', 'written', 'reopened')
        },
        lag_ms_median=float(np.median(medians)) if medians else None,
        lag_ms_max=max(maxima, default=None),
        descriptors=[first['descriptors'], last['descriptors']],
        threads=[first['threads'], last['threads']],
    )
