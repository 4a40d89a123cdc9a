# SPDX-License-Identifier: Apache-2.0
"""Errors of downloads."""

__all__ = ['FetchError']


class FetchError(OSError):
    """A file could not be fetched from any of its addresses; the message tells why, each."""
