# SPDX-License-Identifier: Apache-2.0
"""What one visitor may ask of the page."""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ['WebLimits']


@dataclass(frozen=True)
class WebLimits:
    """Bounds of what visitors send, of what is kept of it and of the work that it makes.

    Args:
        max_file_bytes (int): Of a picture. Defaults to 20 MB.
        max_pixels (int): Of a picture, by its header, before it is decoded. Defaults to 40 million.
        max_pictures (int): At once. Defaults to 8.
        max_request_bytes (int): Of a request without pictures. Defaults to 256 kB.
        upload_seconds (int): Longest time of an upload. Defaults to 120.
        detect_seconds (int): After so long no further inference is begun. Defaults to 60.
        queue_size (int): Most requests that wait; later ones are told to come again. Defaults
            to 16.
        keep_seconds (int): So long are uploaded pictures kept, for new thresholds. Defaults to 900.
        max_folder_bytes (int): Most bytes of all that are kept; the oldest go first. Defaults to
            500 MB.
        max_sessions (int): Most visitors whose results are kept; the oldest go first. Defaults
            to 32.

    Raises:
        ValueError: If one is not a whole number of at least 1, or the folder cannot hold the
            pictures of one upload.

    Example:
        >>> WebLimits(max_pictures=4).max_upload_bytes
        80065536
    """

    max_file_bytes: int = 20_000_000
    max_pixels: int = 40_000_000
    max_pictures: int = 8
    max_request_bytes: int = 256_000
    upload_seconds: int = 120
    detect_seconds: int = 60
    queue_size: int = 16
    keep_seconds: int = 900
    max_folder_bytes: int = 500_000_000
    max_sessions: int = 32

    def __post_init__(self) -> None:
        """Check every value."""
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or value < 1:
                raise ValueError(
                    f'{field.name} must be a whole number of at least 1, but received {value!r}'
                )
        if self.max_folder_bytes < self.max_upload_bytes:
            raise ValueError(
                f'max_folder_bytes must be at least max_pictures x max_file_bytes + 65,536 = '
                f'{self.max_upload_bytes:,}, but received {self.max_folder_bytes:,}'
            )

    @property
    def max_upload_bytes(self) -> int:
        """int: Of one request with pictures, with 64 KiB for the form around them."""
        return self.max_pictures * self.max_file_bytes + 65_536
