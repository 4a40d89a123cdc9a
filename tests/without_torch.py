# SPDX-License-Identifier: Apache-2.0
"""Python processes that find no torch, mmengine, mmcv and mmdet, as where only files are run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

_HEAD = """
import sys
for name in ('torch', 'mmengine', 'mmcv', 'mmdet', 'torchvision'):
    sys.modules[name] = None  # not found, and an error to import
"""


def start_without_torch(code: str, *arguments: object, **options) -> subprocess.Popen:
    """Start Python code; text of stdout and stderr is kept."""
    return subprocess.Popen(
        [sys.executable, '-c', _HEAD + code, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ, PYTHONPATH=f'{ROOT}{os.pathsep}{ROOT / "tests"}'),
        **options,
    )


def run_without_torch(code: str, *arguments: object) -> subprocess.CompletedProcess:
    """Run Python code to its end."""
    process = start_without_torch(code, *arguments)
    stdout, stderr = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def run_tool(name: str, *arguments: object) -> subprocess.CompletedProcess:
    """Run a script of ``tools``."""
    code = f"""
import runpy
sys.argv[0] = 'tools/{name}'
runpy.run_path('tools/{name}', run_name='__main__')
"""
    return run_without_torch(code, *arguments)
