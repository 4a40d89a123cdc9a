# SPDX-License-Identifier: Apache-2.0
"""What is not written."""

from ..errors import ExportError

__all__ = ['AccuracyDropError']


class AccuracyDropError(ExportError):
    """A quantised file that loses more accuracy than allowed."""
