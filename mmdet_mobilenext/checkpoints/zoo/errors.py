# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with weights."""

__all__ = ['WeightsError']


class WeightsError(RuntimeError):
    """Weights cannot be fetched, or are not what they should be; the message says what to do."""
