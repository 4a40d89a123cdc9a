# SPDX-License-Identifier: Apache-2.0
"""Speed of detectors from end to end: loading, training step, loss, epoch, evaluation, growth.

See ``docs/speed.md`` and ``tools/benchmark_speed.py``.
"""

from .batches import make_batch
from .candidate import CandidateSpec, Settings
from .lineup import build_candidate
from .timing import Series, growth_exponent, run_rounds, speed_ratio, time_interleaved

__all__ = [
    'CandidateSpec',
    'Series',
    'Settings',
    'build_candidate',
    'growth_exponent',
    'make_batch',
    'run_rounds',
    'speed_ratio',
    'time_interleaved',
]
