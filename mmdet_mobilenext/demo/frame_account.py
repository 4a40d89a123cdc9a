# SPDX-License-Identifier: Apache-2.0
"""What became of the frames of a video."""

from __future__ import annotations

import statistics
import time
from collections import deque
from dataclasses import dataclass, field

__all__ = ['FrameAccount']

_LAGS_KEPT = 10_000  # bounds the memory where nobody takes the lags; at 30 frames/s 5 minutes


@dataclass
class FrameAccount:
    """Counts of frames, and their lag behind the clock.

    Every frame read is processed, dropped because a newer one was there, or still waiting. The
    thread that reads counts ``read``, ``damaged``, ``dropped`` and ``reopened``, the one that
    detects the rest: no counter is written by two.

    Args:
        read (int): Frames decoded without damage.
        damaged (int): Frames that could not be decoded, or not without errors; skipped.
        dropped (int): Frames that were too late in real time.
        processed (int): Frames that a detector has seen.
        written (int): Frames written to the output.
        reopened (int): Times that a lost source was opened again.

    Example:
        >>> account = FrameAccount(read=2)
        >>> account.done(due=None)
        >>> account.processed, account.take_lags()
        (1, (None, None))
    """

    read: int = 0
    damaged: int = 0
    dropped: int = 0
    processed: int = 0
    written: int = 0
    reopened: int = 0
    _lags: deque = field(default_factory=lambda: deque(maxlen=_LAGS_KEPT), repr=False)

    def done(self, due: float | None) -> None:
        """Count a frame as processed.

        Args:
            due (float | None): When the frame was there, in seconds of ``time.monotonic``. None
                where no clock counts.
        """
        self.processed += 1
        if due is not None:
            self._lags.append(time.monotonic() - due)

    def take_lags(self) -> tuple[float | None, float | None]:
        """Lag of the frames processed since the last call.

        Returns:
            tuple[float | None, float | None]: Median and maximum in ms; None without frames.
        """
        lags = list(self._lags)
        self._lags.clear()
        if not lags:
            return None, None
        return round(1000 * statistics.median(lags), 1), round(1000 * max(lags), 1)

    def counts(self) -> dict[str, int]:
        """All counters.

        Returns:
            dict[str, int]: By name.
        """
        return {
            name: getattr(self, name)
            for name in ('read', 'damaged', 'dropped', 'processed', 'written', 'reopened')
        }
