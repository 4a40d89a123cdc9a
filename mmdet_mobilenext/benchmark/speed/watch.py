# SPDX-License-Identifier: Apache-2.0
"""Tells which task of how many runs, and when it will be over."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ['SpeedBoard']


class SpeedBoard:
    """A bar on a terminal, and a line now and then elsewhere.

    Args:
        tasks (int): Tasks in all.
        console (Console, optional): Where to. Defaults to stdout.
        seconds (float): Least time between two lines if it is no terminal. Defaults to 30.

    Example:
        >>> with SpeedBoard(1, Console(width=60)) as board:
        ...     board.start('step')
        ...     board.watch('training step')(2, 4)
        [1/1] step
    """

    def __init__(self, tasks: int, console: Console | None = None, seconds: float = 30.0) -> None:
        self.tasks, self.number = tasks, 0
        self.console = console or Console()
        self.seconds = seconds
        self._task = ''
        self._progress = Progress(
            TextColumn('{task.description}'),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn('rounds, left'),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )

    def __enter__(self) -> SpeedBoard:
        """Begin to show."""
        self._progress.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Stop showing."""
        self._progress.stop()

    def say(self, text: str) -> None:
        """Print what stays.

        Args:
            text (str): One or more lines.
        """
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def start(self, task: str) -> None:
        """Say that the next task begins.

        Args:
            task (str): Its name.
        """
        self.number += 1
        self._task = task
        self.say(f'[{self.number}/{self.tasks}] {task}')

    def watch(self, title: str) -> Callable[[int, int], None]:
        """Begin a part of a task.

        Args:
            title (str): What is done.

        Returns:
            Callable: To be called with rounds done and in all.
        """
        for old in self._progress.task_ids:
            self._progress.remove_task(old)
        # rich reads square brackets as markup
        bar = self._progress.add_task(f'{self.number}/{self.tasks} {title}', total=None)
        begin = last = time.monotonic()

        def tell(done: int, total: int) -> None:
            nonlocal last
            self._progress.update(bar, completed=done, total=total)
            now = time.monotonic()
            if not self.console.is_terminal and now - last >= self.seconds and done < total:
                last = now
                left = timedelta(seconds=round((now - begin) / done * (total - done)))
                self.say(f'[{self.number}/{self.tasks}] {title}: {done}/{total}, about {left} left')

        return tell
