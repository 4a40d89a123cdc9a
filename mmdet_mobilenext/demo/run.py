# SPDX-License-Identifier: Apache-2.0
"""Detect in images and videos; draw, record and show what is found."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path, PurePath

import cv2
import numpy as np
from tqdm import tqdm

from mmdet_mobilenext.runtime.detections import Detections
from mmdet_mobilenext.runtime.errors import ImageError
from mmdet_mobilenext.runtime.images import read_image

from .errors import DemoError, VideoError
from .inputs import Inputs, OutputNames
from .preview import Preview
from .records import CsvRecords, JsonRecords
from .stopping import StopSignals
from .summary import DemoSummary
from .unfinished import UnfinishedFile, remove_leftovers
from .video_reader import VideoFrame, VideoReader
from .video_source import VideoSource, import_av
from .video_writer import VideoWriter

__all__ = ['Demo']


class Demo:
    """Run a detector over inputs.

    Args:
        detector (Callable): Takes a list of BGR images, gives a list of Detections; has
            ``classes``.
        out_dir (str | os.PathLike): Folder for pictures and videos with boxes.
        draw (bool): Whether to write them. Default: True.
        show (bool): Whether to show them in a window. Default: False.
        json_file (str | os.PathLike | None): See
            :class:`~mmdet_mobilenext.demo.records.JsonRecords`. Default: None.
        csv_file (str | os.PathLike | None): See
            :class:`~mmdet_mobilenext.demo.records.CsvRecords`. Default: None.
        score_thr (float): Least score, in 0..1. Default: 0.3.
        batch_size (int): Images detected in at once; of live sources always one. Default: 1.
        classes (Sequence[str] | None): Names of those to keep. Default: None, for all.
        realtime (bool): Whether files are read at their pace, and late frames dropped.
            Default: False.
        max_frames (int | None): Of each video. Default: None, for all.
        keep (Sequence[str | os.PathLike]): Files that no output may replace, such as the model's.
            Default: ().
        report (Callable[[str], None] | None): Gets a line about everything that is skipped.
            Default: None, for stderr.

    Raises:
        PreviewError: If ``show`` is not possible here.
        RuntimeMissingError: If supervision is not installed.
        DemoError: For a class that the detector does not have, or a number out of range.
    """

    def __init__(
        self,
        detector: Callable[[Sequence[np.ndarray]], list[Detections]],
        out_dir: str | os.PathLike,
        *,
        draw: bool = True,
        show: bool = False,
        json_file: str | os.PathLike | None = None,
        csv_file: str | os.PathLike | None = None,
        score_thr: float = 0.3,
        batch_size: int = 1,
        classes: Sequence[str] | None = None,
        realtime: bool = False,
        max_frames: int | None = None,
        keep: Sequence[str | os.PathLike] = (),
        report: Callable[[str], None] | None = None,
    ) -> None:
        if not 0 <= score_thr <= 1:
            raise DemoError(f'score_thr must be in 0..1, but received {score_thr}')
        if batch_size < 1:
            raise DemoError(f'batch_size must be at least 1, but received {batch_size}')
        if max_frames is not None and max_frames < 1:
            raise DemoError(f'max_frames must be at least 1, but received {max_frames}')
        unknown = sorted(set(classes or ()) - set(detector.classes))
        if unknown:
            raise DemoError(
                f'the detector has no class {", ".join(unknown)}; it has '
                f'{", ".join(detector.classes)}'
            )
        self._detector = detector
        self._out_dir = Path(out_dir)
        self._draw = draw
        self._json_file, self._csv_file = json_file, csv_file
        self._score_thr = score_thr
        self._batch_size = batch_size
        self._kept = None
        if classes:
            self._kept = [k for k, name in enumerate(detector.classes) if name in classes]
        self._realtime = realtime
        self._max_frames = max_frames
        self._keep = {os.path.realpath(path) for path in keep}
        self._report = report or (lambda line: tqdm.write(line, file=sys.stderr))
        self._preview = Preview() if show else None
        self._drawer = None
        if draw or show:
            from mmdet_mobilenext.runtime.drawing import DetectionDrawer

            self._drawer = DetectionDrawer(detector.classes)

    def run(self, inputs: Inputs) -> DemoSummary:
        """Do the work. Ctrl-C and SIGTERM end it early, with all files finished.

        Args:
            inputs (Inputs): See :func:`~mmdet_mobilenext.demo.inputs.find_inputs`.

        Returns:
            DemoSummary: What was done.

        Raises:
            OSError: If an output cannot be written.
            DemoError: If an output would replace an input or another output, or there are several
                streams without an end.
            RuntimeMissingError: If there are videos and PyAV is not installed.
        """
        if inputs.videos:
            import_av()
        self._check_files(inputs)
        self._summary = DemoSummary(
            others=inputs.others,
            all_live=not inputs.images and all(source.live for source, _ in inputs.videos),
        )
        self._names = OutputNames(self._out_dir, inputs.files())
        if self._draw:
            self._out_dir.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self._out_dir)
        started = time.monotonic()
        with StopSignals() as self._stop, ExitStack() as stack:
            self._records = [
                stack.enter_context(records)
                for records in (
                    self._json_file and JsonRecords(self._json_file, self._detector.classes),
                    self._csv_file and CsvRecords(self._csv_file),
                )
                if records
            ]
            if self._preview is not None:
                stack.callback(self._preview.close)
            self._closed = False  # the window
            self._detect_in_images(inputs.images)
            for source, name in sorted(inputs.videos, key=lambda video: video[0].live):
                if not self._ended():
                    self._detect_in_video(source, name)
        self._summary.seconds = time.monotonic() - started
        self._summary.stopped_by = self._stop.received
        return self._summary

    def _check_files(self, inputs: Inputs) -> None:
        live = [source.name for source, _ in inputs.videos if source.live]
        if len(live) > 1 and self._max_frames is None:
            raise DemoError(
                f'{" and ".join(live)} have no end: give one at a time, or --max-frames'
            )
        taken = {os.path.realpath(path) for path in inputs.files()}
        for path in filter(None, (self._json_file, self._csv_file)):
            if os.path.realpath(path) in taken:
                raise DemoError(f'{path} would replace an input or the other output')
            if os.path.realpath(path) in self._keep:
                raise DemoError(f'{path} would replace a file of the model: give another name')
            if os.path.isdir(path):  # before any work, not at its end
                raise DemoError(f'{path} is a folder: give the name of a file')
            taken.add(os.path.realpath(path))

    def _ended(self) -> bool:
        return self._closed or self._stop.received is not None

    def _skip(self, name: str, reason: object) -> None:
        self._summary.unreadable.append(name)
        self._report(f'skipped: {reason}')

    def _found(self, images: Sequence[np.ndarray]) -> list[Detections]:
        results = []
        for found in self._detector(list(images)):
            found = found.above(self._score_thr)
            if self._kept is not None:
                found = _select(found, np.isin(found.labels, self._kept))
            self._summary.objects += len(found)
            results.append(found)
        return results

    def _detect_in_images(self, images: Sequence[tuple[Path, PurePath]]) -> None:
        with tqdm(total=len(images), unit=' images', disable=None if images else True) as bar:
            for batch in _batches(self._read(images, bar), self._batch_size):
                results = self._found([image for image, _, _ in batch])
                for (image, path, name), found in zip(batch, results, strict=True):
                    self._summary.images += 1
                    for records in self._records:
                        records.add(str(path), found)
                    if self._drawer is None:
                        continue
                    drawn = self._drawer(image, found)
                    if self._draw:
                        _write_image(self._names.take(name), drawn)
                    if self._preview is not None and not self._closed:
                        self._closed = not self._preview.show(drawn, self._ended)
                if self._ended():
                    return

    def _read(
        self, images: Iterable[tuple[Path, PurePath]], bar: tqdm
    ) -> Iterator[tuple[np.ndarray, Path, PurePath]]:
        for path, name in images:
            if self._ended():
                return
            try:
                yield read_image(path), path, name
            except (ImageError, OSError) as error:
                self._skip(str(path), error)
            bar.update()

    def _detect_in_video(self, source: VideoSource, name: PurePath) -> None:
        reader = VideoReader(source, realtime=source.live or self._realtime, report=self._report)
        self._stop.on_stop = reader.stop
        account = reader.account
        with ExitStack() as stack:
            bar = stack.enter_context(tqdm(unit=' frames', desc=source.name[-30:], disable=None))
            writer = None
            try:
                # In real time a batch would wait for frames to come.
                size = 1 if reader.realtime else self._batch_size
                for batch in _batches(islice(reader, self._max_frames), size):
                    if self._draw and writer is None:
                        writer = VideoWriter(self._names.take(name), reader.rate)
                        stack.enter_context(writer)
                    self._handle_frames(batch, source, writer)
                    for frame in batch:
                        account.done(frame.due)
                    bar.total = reader.length
                    bar.update(len(batch))
                    if self._closed:
                        break
            except VideoError as error:  # what came before it is kept
                self._report(str(error))
        self._summary.frames += account.processed
        self._summary.videos += account.processed > 0
        self._summary.damaged += account.damaged
        self._summary.dropped += account.dropped
        self._summary.reopened += account.reopened
        if not account.processed and not self._ended():
            self._skip(source.name, f'{source.name} has no frame that can be read')

    def _handle_frames(
        self, frames: Sequence[VideoFrame], source: VideoSource, writer: VideoWriter | None
    ) -> None:
        results = self._found([frame.image for frame in frames])
        for frame, found in zip(frames, results, strict=True):
            for records in self._records:
                records.add(source.name, found, frame.index, frame.time)
            if self._drawer is None:
                continue
            drawn = self._drawer(frame.image, found)
            if writer is not None:
                writer.write(drawn, frame.time)
            if self._preview is not None and not self._closed:
                self._closed = not self._preview.show(drawn)


def _batches(items: Iterable, size: int) -> Iterator[list]:
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch


def _select(found: Detections, keep: np.ndarray) -> Detections:
    return replace(
        found, boxes=found.boxes[keep], scores=found.scores[keep], labels=found.labels[keep]
    )


def _write_image(path: Path, image: np.ndarray) -> None:
    try:
        is_encoded, data = cv2.imencode(path.suffix.lower(), image)
    except cv2.error as error:
        raise DemoError(f'{path} cannot be encoded: {error.err or error}') from error
    if not is_encoded:  # WebP ends at 16383 pixels
        height, width = image.shape[:2]
        raise DemoError(f'{path} cannot be encoded: {path.suffix} takes no {width}x{height} pixels')
    UnfinishedFile.write(path, data.tobytes())
