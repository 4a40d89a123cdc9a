# SPDX-License-Identifier: Apache-2.0
"""Throw strings at a detector, or another target, and keep what they did to it."""

from __future__ import annotations

import hashlib
import json
import os
import select
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from .mutations import FuzzString, make_string

__all__ = ['DetectorTarget', 'FuzzResult', 'Target', 'fuzz', 'no_answer']

# Only the runtime is to be measured, also where all the rest is installed.
_CHILD = (
    "import runpy, sys; sys.modules.update(dict.fromkeys(('torch', 'mmengine', 'mmcv', 'mmdet'))); "
    "runpy.run_module('mmdet_mobilenext.runtime.fuzzing.child', run_name='__main__')"
)


class Target(Protocol):
    """What strings are thrown at."""

    def send(self, data: bytes) -> dict:
        """Send a string and wait for what comes of it.

        Args:
            data (bytes): The string.

        Returns:
            dict: ``outcome``: ``'detections'``, ``'ImageError'``, ``'crash'``, ``'hang'`` or
            ``'other'``; ``text``: message; ``seconds``; ``peak_mb`` and ``resident_mb``, None where
            they are not known.
        """

    def close(self) -> int:
        """End it.

        Returns:
            int: Lines that libraries wrote to the standard error output.
        """


class DetectorTarget:
    """A detector in a process of its own, started again when it ends or hangs.

    Args:
        model (str | PathLike): An exported file.
        seconds (float): Most that a string may take. Defaults to 10.
        most_mb (float): Address space that the process may have, 0 for any. Defaults to 4000.
    """

    def __init__(
        self, model: str | os.PathLike, seconds: float = 10, most_mb: float = 4000
    ) -> None:
        self._command = [sys.executable, '-c', _CHILD, os.fspath(model), str(most_mb)]
        self._seconds = seconds
        self._errors = tempfile.TemporaryFile()
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
        )
        if not self._process.stdout.readline():  # it says when the model is loaded
            self._errors.seek(0)
            lines = self._errors.read().decode(errors='replace').splitlines()
            raise RuntimeError(f'the detector did not start: {lines[-1] if lines else "no word"}')

    def _stop(self) -> int:
        self._process.kill()
        self._process.stdin.close()
        self._process.stdout.close()
        return self._process.wait()

    def send(self, data: bytes) -> dict:
        """See :meth:`Target.send`."""
        start = time.perf_counter()
        line = b''
        try:
            self._process.stdin.write(struct.pack('>Q', len(data)))
            view = memoryview(data)
            while view:
                view = view[self._process.stdin.write(view) :]
            if not select.select([self._process.stdout], [], [], self._seconds)[0]:
                self._stop()
                self._start()
                return dict(
                    no_answer(start), outcome='hang', text=f'no answer in {self._seconds} s'
                )
            line = self._process.stdout.readline()
        except BrokenPipeError:
            pass
        if not line:
            code = self._stop()
            self._start()
            return dict(no_answer(start), outcome='crash', text=f'the process ended with {code}')
        return json.loads(line)

    def close(self) -> int:
        """See :meth:`Target.close`."""
        self._stop()
        self._errors.seek(0)
        with self._errors:
            return sum(1 for _ in self._errors)


def no_answer(start: float) -> dict:
    """What is known of a string before anything came of it.

    Args:
        start (float): When it was sent, in seconds of ``time.perf_counter``.

    Returns:
        dict: ``seconds``, and memory that is not known; see :meth:`Target.send`.
    """
    return dict(seconds=time.perf_counter() - start, peak_mb=None, resident_mb=None)


@dataclass
class FuzzResult:
    """What strings did.

    Args:
        seed (int): Of the strings.
        strings (int): How many.
        outcomes (dict[str, dict[str, int]]): By the format that a string was made of: how often
            each outcome.
        findings (list[dict]): Each that ended in neither detections nor ImageError, and each good
            image that was refused: ``number``, ``name``, ``bytes``, ``sha256``, ``outcome``,
            ``text``.
        seconds (float): All together.
        slowest (list[dict]): The five slowest: ``number``, ``name``, ``seconds``, ``outcome``.
        peaks (list[dict]): The five with the most memory: ``number``, ``name``, ``peak_mb``.
        resident_mb (list[list]): Number of a string and MB resident after it, at eleven places.
        slope_mb (float, optional): MB more per 1000 strings: a line through the second half, when
            all that is kept has been asked for once.
        stderr_lines (int): Lines that libraries wrote to the standard error output.
    """

    seed: int
    strings: int
    outcomes: dict[str, dict[str, int]] = field(default_factory=dict)
    findings: list[dict] = field(default_factory=list)
    seconds: float = 0
    slowest: list[dict] = field(default_factory=list)
    peaks: list[dict] = field(default_factory=list)
    resident_mb: list[list] = field(default_factory=list)
    slope_mb: float | None = None
    stderr_lines: int = 0


def fuzz(
    target: Target,
    strings: int,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> FuzzResult:
    """Send strings, one after the other, and close the target.

    Args:
        target (Target): Where to.
        strings (int): How many of those of the seed, from the first on.
        seed (int): See :func:`~mmdet_mobilenext.runtime.fuzzing.make_string`. Defaults to 0.
        progress (Callable, optional): Called with 1 after each.

    Returns:
        FuzzResult: What they did.

    Raises:
        ValueError: If there are to be none.

    Example:
        >>> class Reader:
        ...     def send(self, data):
        ...         from mmdet_mobilenext.runtime import read_image
        ...         from mmdet_mobilenext.runtime.fuzzing.child import try_string
        ...         outcome, text = try_string(read_image, data)
        ...         return dict(outcome=outcome, text=text, seconds=0., peak_mb=1., resident_mb=1.)
        ...     def close(self):
        ...         return 0
        >>> result = fuzz(Reader(), 3)
        >>> result.outcomes, result.findings
        ({'JPEG': {'detections': 3}}, [])
    """
    if strings < 1:
        raise ValueError(f'there must be at least 1 string, but received {strings}')
    result = FuzzResult(seed, strings)
    outcomes: dict[str, Counter] = {}
    told: list[dict] = []
    start = time.perf_counter()
    try:
        for number in range(strings):
            string = make_string(seed, number)
            answer = target.send(string.data)
            kind = string.name.partition(':')[0].split()[0]
            kind = kind if kind in ('BMP', 'JPEG', 'PNG', 'TIFF', 'WEBP') else 'others'
            outcomes.setdefault(kind, Counter())[answer['outcome']] += 1
            if _is_finding(string, answer['outcome']):
                result.findings.append(_finding(number, string, answer))
            answer.pop('text')
            told.append(dict(number=number, name=string.name, **answer))
            if progress:
                progress(1)
    finally:
        result.stderr_lines = target.close()
    result.seconds = round(time.perf_counter() - start, 1)
    result.outcomes = {kind: dict(sorted(outcomes[kind].items())) for kind in sorted(outcomes)}
    _sum_up(result, told)
    return result


def _is_finding(string: FuzzString, outcome: str) -> bool:
    return outcome not in (('detections',) if string.valid else ('detections', 'ImageError'))


def _finding(number: int, string: FuzzString, answer: dict) -> dict:
    return dict(
        number=number,
        name=string.name,
        bytes=len(string.data),
        sha256=hashlib.sha256(string.data).hexdigest(),
        outcome=answer['outcome'],
        text=answer['text'],
    )


def _sum_up(result: FuzzResult, told: list[dict]) -> None:
    by_time = sorted(told, key=lambda one: -one['seconds'])[:5]
    result.slowest = [
        dict(
            number=one['number'],
            name=one['name'],
            seconds=round(one['seconds'], 3),
            outcome=one['outcome'],
        )
        for one in by_time
    ]
    known = [one for one in told if one['peak_mb'] is not None]
    result.peaks = [
        dict(number=one['number'], name=one['name'], peak_mb=round(one['peak_mb'], 1))
        for one in sorted(known, key=lambda one: -one['peak_mb'])[:5]
    ]
    if known:
        places = np.linspace(0, len(known) - 1, min(11, len(known))).astype(int)
        result.resident_mb = [
            [known[at]['number'], round(known[at]['resident_mb'], 1)] for at in places
        ]
    late = known[len(known) // 2 :]
    if len(late) > 1:
        numbers = [one['number'] / 1000 for one in late]
        line = np.polyfit(numbers, [one['resident_mb'] for one in late], 1)
        result.slope_mb = round(float(line[0]), 3)
