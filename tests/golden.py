# SPDX-License-Identifier: Apache-2.0
"""The golden numbers and the formula that makes weights and inputs for them."""

import functools
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

GOLDEN_DIR = Path(__file__).parent / 'data' / 'golden'


@functools.cache
def load(name: str) -> dict:
    """Read ``golden_{name}.json``."""
    return json.loads((GOLDEN_DIR / f'golden_{name}.json').read_text())


def make_tensor(key: str, shape: Sequence[int]) -> Tensor:
    """Weights of a state-dict key of the authors' networks."""
    if key.endswith('num_batches_tracked'):
        return torch.tensor(1)
    numel = math.prod(shape)
    phase = (zlib.crc32(key.encode()) % 10007) / 10007 * 2 * math.pi
    wave = np.sin(0.7310585 * np.arange(numel, dtype=np.float64) + phase)
    if key.endswith('running_var'):
        values = 1 + 0.3 * wave
    elif key.endswith(('running_mean', 'bias')):
        values = 0.1 * wave
    elif len(shape) == 1:
        values = 1 + 0.2 * wave
    else:
        values = wave * math.sqrt(2 / (numel / shape[0]))
    return torch.from_numpy(values.astype(np.float32)).reshape(tuple(shape))


def make_state_dict(shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Weights of a whole network."""
    return {key: make_tensor(key, shape) for key, shape in shapes.items()}


def make_input(size: int) -> Tensor:
    """Input image, (1, 3, size, size)."""
    values = 1.5 * np.sin(0.0137 * np.arange(3 * size * size, dtype=np.float64))
    return torch.from_numpy(values.astype(np.float32)).reshape(1, 3, size, size)


def assert_matches(tensor: Tensor, record: dict, tolerance: float = 1e-4) -> None:
    """Compare a tensor with a golden record, value by value."""
    assert list(tensor.shape) == record['shape']
    values = tensor.detach().double().contiguous().flatten()
    expected = torch.tensor(record['value'], dtype=torch.float64)
    error = (values[record['index']] - expected).abs() / expected.abs().clamp(min=1)
    assert error.max() <= tolerance, f'largest relative error {error.max():.2e}'
    for name, value in (('mean', values.mean()), ('std', values.std())):
        assert abs(value - record[name]) <= max(tolerance, 1e-3 * abs(record[name])), name
