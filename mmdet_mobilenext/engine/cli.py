# SPDX-License-Identifier: Apache-2.0
"""What the tools have in common."""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Iterator

from mmdet_mobilenext.benchmark.errors import BenchmarkError, RunFailedError
from mmdet_mobilenext.checkpoints.safe_loading import CheckpointFileError, UnsafeCheckpointError
from mmdet_mobilenext.checkpoints.strict import CheckpointKeyError
from mmdet_mobilenext.datasets.checks import DataCheckError
from mmdet_mobilenext.export.errors import ExportError
from mmdet_mobilenext.fetching import FetchError
from mmdet_mobilenext.runtime.errors import ImageError, ModelFileError, RuntimeMissingError
from mmdet_mobilenext.search.genotype import GenotypeError

from .environment import EnvironmentCheckError, OptionError
from .non_finite_loss_hook import NonFiniteLossError

__all__ = ['stop_on_expected_errors']

# Errors whose message tells all; a traceback would only hide it.
EXPECTED_ERRORS = (
    BenchmarkError,
    CheckpointFileError,
    CheckpointKeyError,
    DataCheckError,
    EnvironmentCheckError,
    ExportError,
    FetchError,
    FileExistsError,
    FileNotFoundError,
    GenotypeError,
    ImageError,
    ModelFileError,
    NonFiniteLossError,
    OptionError,
    RunFailedError,
    RuntimeMissingError,
    UnsafeCheckpointError,
)


@contextlib.contextmanager
def stop_on_expected_errors() -> Iterator[None]:
    """Turn expected errors into their message on stderr and exit code 1.

    Of other errors of the operating system those that name a file count as expected, such as a
    folder that is read-only, and a disk that is full.

    Example:
        >>> with stop_on_expected_errors():
        ...     pass
    """
    try:
        yield
    except (*EXPECTED_ERRORS, OSError) as error:
        full = getattr(error, 'errno', None) == errno.ENOSPC  # libraries that write name no file
        if not isinstance(error, EXPECTED_ERRORS) and error.filename is None and not full:
            raise
        print(f'\n{type(error).__name__}: {error}', file=sys.stderr, flush=True)
        sys.exit(1)
