# SPDX-License-Identifier: Apache-2.0
"""mmpretrain where torchvision cannot be imported.

mmpretrain imports torchvision for transforms and models that no config of this
project uses. Where there is no torchvision that goes with the torch in use, the
tests put a stub in its place while mmpretrain is imported; whatever of it is
called raises an error. A torchvision that works is left alone.
"""

from __future__ import annotations

import importlib
import os
import sys
from functools import cache
from pathlib import Path

SITE = Path(__file__).parent / 'site'
PACKAGES = ('models', 'datasets', 'engine', 'evaluation', 'visualization')


@cache
def torchvision_works() -> bool:
    """Whether the real one can be imported."""
    try:
        importlib.import_module('torchvision')
    except (ImportError, RuntimeError):  # RuntimeError: built for another torch
        _forget_torchvision()
        return False
    return True


def import_mmpretrain() -> None:
    """Import all of mmpretrain; afterwards torchvision is as absent as before."""
    stub = not torchvision_works()
    if stub:
        sys.path.insert(0, str(SITE))
    try:
        for name in PACKAGES:
            importlib.import_module(f'mmpretrain.{name}')
    finally:
        if stub:
            sys.path.remove(str(SITE))
            _forget_torchvision()


def environment_with_stub(environment: dict[str, str]) -> dict[str, str]:
    """The environment of a process that imports mmpretrain."""
    if torchvision_works():
        return environment
    path = os.pathsep.join(filter(None, [str(SITE), environment.get('PYTHONPATH')]))
    return {**environment, 'PYTHONPATH': path}


def _forget_torchvision() -> None:
    for name in [n for n in sys.modules if n.split('.')[0] == 'torchvision']:
        del sys.modules[name]
