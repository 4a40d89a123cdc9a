# SPDX-License-Identifier: Apache-2.0
"""What a run of the demo did, in a line and as an exit code."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field

__all__ = ['DemoSummary']


@dataclass
class DemoSummary:
    """What was done.

    Args:
        images (int): Images detected in.
        videos (int): Videos of which at least one frame was detected in.
        frames (int): Frames detected in.
        objects (int): Detections of at least the least score.
        damaged (int): Frames that could not be decoded.
        dropped (int): Frames left out in real time.
        reopened (int): Times that a lost stream came back.
        others (int): Files in folders and patterns that are neither image nor video, or are output.
        unreadable (list[str]): Images and videos that could not be read.
        seconds (float): Without loading the model.
        stopped_by (int | None): Number of the signal that ended the work.
        all_live (bool): Whether there was nothing with an end.

    Example:
        >>> print(DemoSummary(images=1, frames=20, videos=1, objects=3, damaged=2, seconds=2.0))
        1 image and 20 frames of 1 video: 3 objects, 10.5 images/s; 2 damaged frames skipped
    """

    images: int = 0
    videos: int = 0
    frames: int = 0
    objects: int = 0
    damaged: int = 0
    dropped: int = 0
    reopened: int = 0
    others: int = 0
    unreadable: list[str] = field(default_factory=list)
    seconds: float = 0.0
    stopped_by: int | None = None
    all_live: bool = False

    def exit_code(self) -> int:
        """Code for the shell.

        Returns:
            int: 1 if nothing could be read; 128 + number of the signal if one ended work that has
            an end; else 0.
        """
        if self.stopped_by is not None and not self.all_live:
            return 128 + self.stopped_by
        return int(not self.images + self.frames)

    def __str__(self) -> str:
        parts = [_count(self.images, 'image')] if self.images or not self.videos else []
        if self.videos:
            parts.append(f'{_count(self.frames, "frame")} of {_count(self.videos, "video")}')
        rate = (self.images + self.frames) / self.seconds if self.seconds else 0.0
        text = f'{" and ".join(parts)}: {_count(self.objects, "object")}, {rate:.1f} images/s'
        if self.unreadable:
            text += f'; {len(self.unreadable)} could not be read'
        for number, what, then in (
            (self.damaged, 'damaged frame', ' skipped'),
            (self.dropped, 'late frame', ' dropped'),
            (self.reopened, 'loss', ' of the stream'),
            (self.others, 'other file', ' left out'),
        ):
            if number:
                text += f'; {_count(number, what)}{then}'
        if self.stopped_by is not None:
            text += f'; stopped by {signal.Signals(self.stopped_by).name}'
        return text


def _count(number: int, what: str) -> str:
    plural = what + ('es' if what.endswith('s') else 's')
    return f'{number} {what if number == 1 else plural}'
