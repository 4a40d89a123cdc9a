# SPDX-License-Identifier: Apache-2.0
"""Of what a source gives, the newest: so that who takes slowly sees the present."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

from .frame_account import FrameAccount

__all__ = ['newest']

Item = TypeVar('Item')
_SECONDS_TO_END = 2  # that the reading thread gets


def newest(
    items: Iterable[Item], account: FrameAccount, stop: threading.Event, name: str
) -> Iterator[Item]:
    """Read in a thread, and give what came last.

    Args:
        items (Iterable): Read by the thread.
        account (FrameAccount): Counts what is dropped.
        stop (threading.Event): Ends the iteration; ``items`` should end on it, too. It is set in
            the end.
        name (str): Of the thread.

    Yields:
        Item: In order. The last one is never dropped.

    Raises:
        Exception: What ``items`` raises.

    Example:
        >>> account = FrameAccount()
        >>> taken = list(newest(range(1000), account, threading.Event(), 'count'))
        >>> taken[-1], len(taken) + account.dropped
        (999, 1000)
    """
    changed = threading.Condition()
    waiting: list[Item] = []
    ended: list[Exception | None] = []

    def read() -> None:
        error = None
        try:
            for item in items:
                with changed:
                    account.dropped += len(waiting)
                    waiting[:] = [item]
                    changed.notify()
        except Exception as raised:  # belongs to the thread that takes
            error = raised
        with changed:
            ended.append(error)
            changed.notify()

    thread = threading.Thread(target=read, name=name, daemon=True)
    thread.start()
    try:
        while not stop.is_set():
            with changed:
                changed.wait_for(lambda: waiting or ended, timeout=0.5)
                taken = [waiting.pop()] if waiting else []
            if taken:
                yield taken[0]
            elif ended:
                if ended[0] is not None:
                    raise ended[0]
                return
    finally:
        stop.set()
        # It may wait for data until a timeout, and nothing is lost with it.
        thread.join(_SECONDS_TO_END)
