# SPDX-License-Identifier: Apache-2.0
"""What cannot be exported."""

__all__ = ['ExportError']


class ExportError(ValueError):
    """A detector, an option or an environment that cannot be exported, and what to do."""
