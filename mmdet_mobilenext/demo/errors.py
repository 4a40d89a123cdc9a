# SPDX-License-Identifier: Apache-2.0
"""What the demo refuses, and how its tools end on it."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from mmdet_mobilenext.runtime.errors import ImageError, ModelFileError, RuntimeMissingError

__all__ = ['DemoError', 'PreviewError', 'VideoError', 'stop_on_demo_errors']


class DemoError(ValueError):
    """Inputs or options that cannot be."""


class VideoError(DemoError):
    """A video that cannot be opened, that has no pictures, or that was lost for good."""


class PreviewError(DemoError):
    """There can be no window here."""


# Errors whose message tells all; a traceback would only hide it.
_EXPECTED = (DemoError, FileNotFoundError, ImageError, ModelFileError, RuntimeMissingError)


@contextmanager
def stop_on_demo_errors(checkpoint: bool = False, extra: str = 'demo') -> Iterator[None]:
    """Turn expected errors into their message on stderr and exit code 1.

    Args:
        checkpoint (bool): Whether a checkpoint is used, whose errors come from the parts of the
            package that need torch. Default: False.
        extra (str): Extra of the package with what the tool needs, named where something is
            missing. Default: 'demo'.

    Example:
        >>> with stop_on_demo_errors():
        ...     pass
    """
    with ExitStack() as stack:
        try:
            if checkpoint:
                with suppress(ImportError):  # of torch and others: loading says what is missing
                    from mmdet_mobilenext.engine.cli import stop_on_expected_errors

                    stack.enter_context(stop_on_expected_errors())
            yield
        except ModuleNotFoundError as error:
            if (error.name or '').partition('.')[0] == 'mmdet_mobilenext':
                raise
            print(
                f"{type(error).__name__}: there is no {error.name}: `pip install '.[{extra}]'` "
                'in a checkout',
                file=sys.stderr,
                flush=True,
            )
            sys.exit(1)
        except (*_EXPECTED, OSError) as error:
            full = getattr(error, 'errno', None) == errno.ENOSPC
            if not isinstance(error, _EXPECTED) and error.filename is None and not full:
                raise
            print(f'{type(error).__name__}: {error}', file=sys.stderr, flush=True)
            sys.exit(1)
