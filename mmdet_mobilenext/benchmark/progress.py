# SPDX-License-Identifier: Apache-2.0
"""Tells how far a comparison is: which run of how many, and when it will be over."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import timedelta

from rich.console import Console
from rich.live import Live

from .folder import RunFolder

__all__ = ['Board']

# Testing is counted as so many iterations more, so that the bar does not stop short.
TEST_SHARE = 0.05


class Board:
    """A live table on a terminal, and a line now and then elsewhere.

    Args:
        folders (Sequence[RunFolder]): All runs.
        console (Console, optional): Where to. Defaults to stdout.
        seconds (float): Time between two lines if it is no terminal. Defaults to 60.

    Example:
        >>> board = Board([])
        >>> board.text()
        '0 of 0 runs done'
    """

    def __init__(
        self, folders: Sequence[RunFolder], console: Console | None = None, seconds: float = 60.0
    ) -> None:
        self.folders = list(folders)
        self.console = console or Console()
        self.seconds = seconds
        self._start = time.monotonic()
        self._done_before = sum(self._share(folder) for folder in self.folders)
        self._last_line = time.monotonic()
        self._live = Live(console=self.console, refresh_per_second=2, transient=True)

    def __enter__(self) -> Board:
        """Begin to show."""
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Stop showing."""
        if self.console.is_terminal:
            self._live.stop()

    def say(self, line: str) -> None:
        """Print a line that stays.

        Args:
            line (str): What to print.
        """
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def tick(self) -> None:
        """Show the state of now; to be called often."""
        if self.console.is_terminal:
            self._live.update('\n'.join([self.text(), *self._lines()]))
        elif time.monotonic() - self._last_line >= self.seconds:
            self._last_line = time.monotonic()
            self.say(' | '.join([self.text(), *self._lines()]))

    def text(self) -> str:
        """Runs done, and the time that is left at the present speed.

        Returns:
            str: One line.
        """
        done = sum(folder.done.exists() for folder in self.folders)
        text = f'{done} of {len(self.folders)} runs done'
        shares = sum(self._share(folder) for folder in self.folders)
        gained = shares - self._done_before
        left = len(self.folders) - shares
        if gained > 0.01 and left > 0:
            seconds = (time.monotonic() - self._start) / gained * left
            text += f', about {timedelta(seconds=round(seconds))} left'
        return text

    def _lines(self) -> list[str]:
        lines = []
        for folder in self.folders:
            state = _read(folder)
            if state and not folder.done.exists():
                number = self.folders.index(folder) + 1
                lines.append(
                    f'run {number} {folder.title}: {state["phase"]} '
                    f'{state["done"]}/{state["total"]}'
                )
        return lines

    @staticmethod
    def _share(folder: RunFolder) -> float:
        """Part of a run that is done, in 0..1."""
        if folder.done.exists():
            return 1.0
        state = _read(folder)
        if not state:
            return 0.0
        part = state['done'] / max(state['total'], 1)
        if state['phase'] == 'test':
            if not folder.trained.exists():  # there was nothing to train
                return part
            return 1 - TEST_SHARE + TEST_SHARE * part
        return (1 - TEST_SHARE) * part


def _read(folder: RunFolder) -> dict | None:
    """The progress file; a broken one only costs the display."""
    try:
        return json.loads(folder.progress.read_text())
    except (OSError, ValueError):
        return None
