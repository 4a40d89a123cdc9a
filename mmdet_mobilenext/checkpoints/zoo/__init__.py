# SPDX-License-Identifier: Apache-2.0
"""Weights of others that this project can use: what there is, fetching and verifying it.

``model-index.yml`` says where they are from; ``tools/weights.py`` is the command.
"""

from .errors import WeightsError
from .fetch import fetch_weights
from .index import WeightsEntry, read_index
from .listing import list_weights
from .verify import verify_weights

__all__ = [
    'WeightsEntry',
    'WeightsError',
    'fetch_weights',
    'list_weights',
    'read_index',
    'verify_weights',
]
