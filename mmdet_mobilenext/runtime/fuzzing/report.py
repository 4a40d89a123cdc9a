# SPDX-License-Identifier: Apache-2.0
"""What came of the strings, for people."""

from __future__ import annotations

import platform

from mmdet_mobilenext.version import installed_versions

from .run import FuzzResult

__all__ = ['summary', 'versions']

_PACKAGES = ('opencv-python-headless', 'pillow', 'numpy', 'onnxruntime', 'openvino', 'ncnn')


def versions() -> dict[str, str]:
    """Versions of what reads and makes the strings.

    Returns:
        dict[str, str]: By package; of those that are installed.

    Example:
        >>> 'pillow' in versions()
        True
    """
    return {'python': platform.python_version(), **installed_versions(_PACKAGES)}


def summary(result: FuzzResult) -> str:
    """A result in a few lines.

    Args:
        result (FuzzResult): Of :func:`~mmdet_mobilenext.runtime.fuzzing.fuzz`.

    Returns:
        str: Outcomes, time, memory, and each finding.

    Example:
        >>> print(summary(FuzzResult(0, 2, {'PNG': {'detections': 2}}, seconds=0.1)))
        2 strings of seed 0 in 0.1 s: no finding
        PNG: 2 detections
    """
    found = f'{len(result.findings)} FINDINGS' if result.findings else 'no finding'
    lines = [f'{result.strings:,} strings of seed {result.seed} in {result.seconds} s: {found}']
    for kind, outcomes in result.outcomes.items():
        counts = ', '.join(f'{number:,} {outcome}' for outcome, number in outcomes.items())
        lines.append(f'{kind}: {counts}')
    for one in result.slowest[:1]:
        lines.append(f'slowest: {one["seconds"]} s, string {one["number"]} ({one["name"]})')
    for one in result.peaks[:1]:
        lines.append(f'most memory: {one["peak_mb"]} MB, string {one["number"]} ({one["name"]})')
    if result.resident_mb:
        first, last = result.resident_mb[0][1], result.resident_mb[-1][1]
        lines.append(
            f'resident: {first} MB after the first, {last} MB after the last, '
            f'{result.slope_mb:+} MB per 1000 strings of the second half'
            if result.slope_mb is not None
            else f'resident: {last} MB'
        )
    if result.stderr_lines:
        lines.append(f'lines of libraries on the standard error output: {result.stderr_lines:,}')
    for one in result.findings:
        text = one['text'].strip().splitlines()
        lines.append(
            f'string {one["number"]} ({one["name"]}, {one["bytes"]} bytes): {one["outcome"]}: '
            f'{text[-1] if text else ""}'
        )
    return '\n'.join(lines)
