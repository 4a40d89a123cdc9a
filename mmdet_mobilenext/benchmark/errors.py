# SPDX-License-Identifier: Apache-2.0
"""What can stop a comparison."""

__all__ = ['BenchmarkError', 'MixedRunsError', 'RunFailedError']


class BenchmarkError(ValueError):
    """The comparison that was asked for cannot be made; nothing was changed."""


class MixedRunsError(BenchmarkError):
    """The folder holds runs of another config, other data or another version of the code."""


class RunFailedError(RuntimeError):
    """At least one run failed; the finished ones are kept."""
