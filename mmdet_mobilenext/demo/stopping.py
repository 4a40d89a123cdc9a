# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM end the work after the picture at hand, not in the middle of it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

__all__ = ['StopSignals']


class StopSignals:
    """A context in which the first SIGINT or SIGTERM only asks to stop; a second one interrupts.

    Outside the main thread, which alone gets signals, nothing changes.

    Args:
        on_stop (Callable[[], None] | None): Called on the first signal. Default: None.

    Attributes:
        received (int | None): Number of the signal.
        on_stop (Callable[[], None] | None): May be changed at any time.

    Example:
        >>> with StopSignals() as stop:
        ...     signal.raise_signal(signal.SIGTERM)
        >>> stop.name
        'SIGTERM'
    """

    def __init__(self, on_stop: Callable[[], None] | None = None) -> None:
        self.received = None
        self.on_stop = on_stop
        self._old = {}

    @property
    def name(self) -> str | None:
        """Str | None: Name of the signal."""
        return None if self.received is None else signal.Signals(self.received).name

    def _handle(self, number: int, _: object) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = number
        if self.on_stop is not None:
            self.on_stop()

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._old[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        while self._old:
            signal.signal(*self._old.popitem())
