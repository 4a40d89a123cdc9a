# SPDX-License-Identifier: Apache-2.0
"""Levels of loggers, for a while."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ['log_level']


@contextmanager
def log_level(logger: logging.Logger, level: int | str) -> Iterator[None]:
    """Give a logger another level meanwhile.

    Args:
        logger (logging.Logger): One that others may use, too.
        level (int | str): Such as ``logging.ERROR`` or its name.

    Example:
        >>> logger = logging.getLogger('some.library')
        >>> with log_level(logger, 'ERROR'):
        ...     logger.level == logging.ERROR
        True
        >>> logger.level == logging.NOTSET
        True
    """
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)
