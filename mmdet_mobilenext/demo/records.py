# SPDX-License-Identifier: Apache-2.0
"""Detections as JSON or CSV, written while they come: memory stays as it is in a long video."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path

from mmdet_mobilenext.runtime.detections import Detections

from .unfinished import UnfinishedFile

__all__ = ['CsvRecords', 'JsonRecords']

_COLUMNS = ('file', 'frame', 'time', 'label', 'score', 'x1', 'y1', 'x2', 'y2')


class _Records:
    """A text file that takes its place when it is closed without an error."""

    def __init__(self, path: str | os.PathLike) -> None:
        self._unfinished = UnfinishedFile(path)
        # Names that are no valid Unicode are written as escapes, which JSON knows as well.
        self._file = open(
            self._unfinished.name, 'w', encoding='utf-8', errors='backslashreplace', newline=''
        )

    def close(self) -> None:
        """Finish the file and put it in place."""
        try:
            self._file.close()
            self._unfinished.finish()
        except BaseException:
            self._unfinished.discard()
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None or issubclass(kind, KeyboardInterrupt):
            self.close()
        else:
            self._file.close()
            self._unfinished.discard()


class JsonRecords(_Records):
    """``{"classes": [...], "images": [{"file", "width", "height", "detections"}, ...]}``.

    Frames of a video have ``frame`` (int, from 0) and ``time`` (float, seconds) as well. A name
    that ends in ``.jsonl`` makes JSON Lines: the images alone, one a line.

    Args:
        path (str | os.PathLike): File to write.
        classes (Sequence[str]): Names of all classes.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> none = Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int), ('cat',), (8, 6))
        >>> path = Path(tempfile.mkdtemp()) / 'found.json'
        >>> with JsonRecords(path, ('cat',)) as records:
        ...     records.add('a.jpg', none)
        >>> json.loads(path.read_text())['images']
        [{'file': 'a.jpg', 'width': 8, 'height': 6, 'detections': []}]
    """

    def __init__(self, path: str | os.PathLike, classes: Sequence[str]) -> None:
        super().__init__(path)
        self._lines = Path(path).suffix.lower() == '.jsonl'
        self._first = True
        if not self._lines:
            names = json.dumps(list(classes), ensure_ascii=False)
            self._file.write(f'{{"classes": {names},\n"images": [\n')

    def add(
        self, file: str, found: Detections, frame: int | None = None, time: float | None = None
    ) -> None:
        """Add an image or a frame.

        Args:
            file (str): Its name.
            found (Detections): What is in it.
            frame (int | None): Number of the frame. Default: None.
            time (float | None): Its time in seconds. Default: None.
        """
        entry: dict = dict(file=file)
        if frame is not None:
            entry |= dict(frame=frame, time=round(time, 6))
        width, height = found.size
        entry |= dict(width=width, height=height, detections=found.records())
        if not (self._first or self._lines):
            self._file.write(',\n')
        self._first = False
        text = json.dumps(entry, ensure_ascii=False)
        self._file.write(text + ('\n' if self._lines else ''))

    def close(self) -> None:
        """Finish the file and put it in place."""
        if not self._lines:
            self._file.write('\n]}\n')
        super().close()


class CsvRecords(_Records):
    """A row for each detection; images without any have none.

    Args:
        path (str | os.PathLike): File to write.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> cat = Detections(np.array([[1, 2, 3, 4.]]), np.array([.5]), np.array([0]), ('cat',),
        ...                  (8, 6))
        >>> path = Path(tempfile.mkdtemp()) / 'found.csv'
        >>> with CsvRecords(path) as records:
        ...     records.add('a.mp4', cat, 3, 0.12)
        >>> print(path.read_text().rstrip())
        file,frame,time,label,score,x1,y1,x2,y2
        a.mp4,3,0.12,cat,0.5,1.0,2.0,3.0,4.0
    """

    def __init__(self, path: str | os.PathLike) -> None:
        super().__init__(path)
        self._rows = csv.writer(self._file, lineterminator='\n')
        self._rows.writerow(_COLUMNS)

    def add(
        self, file: str, found: Detections, frame: int | None = None, time: float | None = None
    ) -> None:
        """Add an image or a frame.

        Args:
            file (str): Its name.
            found (Detections): What is in it.
            frame (int | None): Number of the frame. Default: None.
            time (float | None): Its time in seconds. Default: None.
        """
        when = '' if time is None else round(time, 6)
        for record in found.records():
            self._rows.writerow(
                (file, frame, when, record['label'], record['score'], *record['box'])
            )
