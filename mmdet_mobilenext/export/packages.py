# SPDX-License-Identifier: Apache-2.0
"""Packages of the extra ``export``, of which each format needs some."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from .errors import ExportError

__all__ = ['PACKAGES', 'check_packages']

PACKAGES = {
    'onnx': ('onnx', 'onnxscript', 'onnxruntime'),
    'openvino': ('onnx', 'onnxscript', 'openvino'),
    'ncnn': ('ncnn', 'pnnx'),
}
"""Packages that write a format and check what was written."""


def check_packages(work: str, names: Sequence[str]) -> None:
    """Check that something can be done here.

    Args:
        work (str): What needs the packages, such as a format.
        names (Sequence[str]): Of packages.

    Raises:
        ExportError: With the packages that are not installed.

    Example:
        >>> check_packages('onnx', ['json', 'no_such_package'])
        Traceback (most recent call last):
        ...
        mmdet_mobilenext.export.errors.ExportError: onnx needs no_such_package: `pip install \
'mmdet_mobilenext[export]'`, or `python3 tools/setup_env.py --extras export` in a checkout
    """
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise ExportError(
            f"{work} needs {', '.join(missing)}: `pip install 'mmdet_mobilenext[export]'`, or "
            '`python3 tools/setup_env.py --extras export` in a checkout'
        )
