# SPDX-License-Identifier: Apache-2.0
"""What the runtime refuses, each with a message that says what to do."""

__all__ = ['ImageError', 'ModelFileError', 'RuntimeMissingError']


class ImageError(ValueError):
    """An image that cannot be read, or that is too large to be read safely."""


class ModelFileError(ValueError):
    """A file that is no exported model, or one of another kind than asked for."""


class RuntimeMissingError(ImportError):
    """A package that is needed to run a file is not installed."""
