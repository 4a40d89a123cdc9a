# SPDX-License-Identifier: Apache-2.0
"""A model file for the tests of the runtime."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope='session')
def constant_model(tmp_path_factory) -> str:
    """See ``constant_model.py``."""
    from constant_model import write_constant_model

    return write_constant_model(tmp_path_factory.mktemp('models') / 'constant.onnx')
