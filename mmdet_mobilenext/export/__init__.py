# SPDX-License-Identifier: Apache-2.0
"""From a checkpoint to a file that runs without PyTorch."""

from .errors import ExportError
from .export import FORMATS, Deployable, deployable, export

__all__ = ['FORMATS', 'Deployable', 'ExportError', 'deployable', 'export']
