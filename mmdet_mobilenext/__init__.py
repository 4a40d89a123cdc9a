# SPDX-License-Identifier: Apache-2.0
"""MobileNeXt and SSDLite for MMDetection.

Importing the package registers everything with MMDetection::

    custom_imports = dict(imports=['mmdet_mobilenext'], allow_failed_imports=False)

Where torch, mmengine, mmcv or mmdet is not installed, the package is the runtime alone:
``Detector`` runs exported models without them.
"""

from importlib.util import find_spec

from .version import __version__

__all__ = ['Detector', '__version__']  # noqa: F405

_MISSING = [name for name in ('torch', 'mmengine', 'mmcv', 'mmdet') if find_spec(name) is None]

if not _MISSING:
    from .registration import *  # noqa: F403
    from .registration import __all__ as _registered

    __all__ += _registered


def __getattr__(name: str) -> object:
    """``Detector``, when it is asked for; otherwise what is missing."""
    if name == 'Detector':
        from .runtime import Detector

        return Detector
    hint = ''
    if _MISSING and not name.startswith('__'):
        hint = (
            f': without {", ".join(_MISSING)} there is the runtime alone '
            '(mmdet_mobilenext.runtime); `python3 tools/setup_env.py` installs all'
        )
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}{hint}')
