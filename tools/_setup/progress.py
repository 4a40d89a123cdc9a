# SPDX-License-Identifier: Apache-2.0
"""What the user sees while packages are fetched and built."""

import re
import shutil
import time
from collections.abc import Callable
from typing import TextIO


def duration(seconds: float) -> str:
    """Return seconds as ``m:ss``.

    Example:
        >>> duration(754.2)
        '12:34'
    """
    return f'{int(seconds) // 60}:{int(seconds) % 60:02d}'


class Progress:
    """What a running pip is doing, from the lines that it prints.

    Args:
        clock (Callable[[], float]): Returns seconds. Default: ``time.monotonic``.

    Example:
        >>> progress = Progress()
        >>> progress.feed('  [39/78] c++ -MMD -MF knn.o.d ...')
        >>> progress.percent
        50
    """

    COMPILED = re.compile(r'^\s*\[(\d+)/(\d+)\] ')  # ninja: files finished / all files
    COMPILE_STARTS = re.compile(r"^\s*building '.+' extension")
    DOWNLOADED = re.compile(r'^\s*Progress (\d+) of (\d+)')  # pip --progress-bar raw: bytes
    FETCHING = re.compile(r'^\s*(?:Downloading|Processing|Using cached) (?:\S*/)?([\w.]+-[\d.]+\d)')

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.clock = clock
        self.started = clock()
        self.compile_started = self.started
        self.done = self.total = 0
        self.file = self.stage = ''

    @property
    def percent(self) -> 'int | None':
        """Of the compilation, 0-100; None before it."""
        return 100 * self.done // self.total if self.total else None

    def feed(self, line: str) -> None:
        """Take in one line of pip's output."""
        if match := self.COMPILED.match(line):
            self.done, self.total = int(match[1]), int(match[2])
            self.stage = ''
        elif self.COMPILE_STARTS.match(line):
            self.compile_started = self.clock()
        elif match := self.DOWNLOADED.match(line):
            done, total = int(match[1]), int(match[2])
            if total:
                self.stage = f'downloading {self.file}: {100 * done // total} % of {total >> 20} MB'
        elif match := self.FETCHING.match(line):
            self.file = match[1]
            self.stage = f'fetching {self.file}'
        elif 'Installing collected packages' in line:
            self.stage = 'installing'
        elif self.total and self.done == self.total and not self.stage:
            self.stage = 'linking and packing'

    def text(self) -> str:
        """Return the line for the user: what, how far, time gone, time left."""
        now = self.clock()
        gone = f'{duration(now - self.started)} gone'
        if self.stage or not self.total:
            return f'{self.stage or "working"}, {gone}'
        text = f'compiling {self.done}/{self.total} ({self.percent} %), {gone}'
        if self.done > 2:  # one or two files say too little about the others
            left = (now - self.compile_started) / self.done * (self.total - self.done)
            text += f', about {duration(left)} left'
        return text


class Display:
    """Writes permanent lines, and one line that moves.

    Where the stream is no terminal, the moving line is written as a permanent one, every 10 % or 30
    seconds.

    Args:
        stream (TextIO): Where to.
        quiet (bool): Write nothing. Default: False.
        clock (Callable[[], float]): Returns seconds. Default: ``time.monotonic``.
    """

    def __init__(
        self, stream: TextIO, quiet: bool = False, clock: Callable[[], float] = time.monotonic
    ):
        self.stream, self.quiet, self.clock = stream, quiet, clock
        self.is_terminal = stream.isatty()
        self.is_open = False
        self.start_live()

    def line(self, text: str) -> None:
        """Write a permanent line."""
        self.end_live()
        if not self.quiet:
            print(text, file=self.stream, flush=True)

    def start_live(self) -> None:
        """Begin a new moving line."""
        self.last_time, self.last_tenth = self.clock(), 0

    def live(self, text: str, percent: 'int | None' = None) -> None:
        """Renew the moving line.

        Args:
            text (str): The line.
            percent (int, optional): How much of the work is done, if that is known.
        """
        now, tenth = self.clock(), (percent or 0) // 10
        if self.quiet:
            return
        if self.is_terminal:
            width = shutil.get_terminal_size().columns - 1
            self.stream.write(f'\r\x1b[K{("    " + text)[:width]}')
            self.stream.flush()
            self.is_open = True
        elif tenth > self.last_tenth or now - self.last_time >= 30:
            self.last_time, self.last_tenth = now, tenth
            print(f'    {text}', file=self.stream, flush=True)

    def end_live(self) -> None:
        """Wipe the moving line."""
        if self.is_open:
            self.stream.write('\r\x1b[K')
            self.is_open = False
