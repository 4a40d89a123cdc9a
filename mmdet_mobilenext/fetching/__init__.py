# SPDX-License-Identifier: Apache-2.0
"""Downloads of data and weights: several mirrors, resumed, verified before they are in place."""

from .errors import FetchError
from .fetch import FetchedFile, fetch_file

__all__ = ['FetchError', 'FetchedFile', 'fetch_file']
