# SPDX-License-Identifier: Apache-2.0
"""A model file for the tests of the runtime."""

import pytest


@pytest.fixture(scope='session')
def constant_model(tmp_path_factory) -> str:
    """See ``exported_file.py``."""
    from exported_file import make_exported

    return str(make_exported(tmp_path_factory.mktemp('models') / 'constant.onnx'))
