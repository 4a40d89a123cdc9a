# SPDX-License-Identifier: Apache-2.0
"""MobileNeXt and SSDLite for MMDetection.

Importing the package registers everything with MMDetection::

    custom_imports = dict(imports=['mmdet_mobilenext'], allow_failed_imports=False)

Where mmengine is not installed, the package is the runtime alone: ``Detector`` runs exported
models, without torch and mmcv.
"""

from importlib.util import find_spec

from .version import __version__

__all__ = ['Detector', '__version__']  # noqa: F405

if find_spec('mmengine') is not None:
    from .registration import *  # noqa: F403
    from .registration import __all__ as _registered

    __all__ += _registered


def __getattr__(name: str) -> object:
    """``Detector``, when it is asked for; otherwise what is missing."""
    if name == 'Detector':
        from .runtime import Detector

        return Detector
    hint = ''
    if find_spec('mmengine') is None and not name.startswith('__'):
        hint = (
            ': without mmengine, mmcv, mmdet and torch there is the runtime alone '
            '(mmdet_mobilenext.runtime); `python3 tools/setup_env.py` installs them'
        )
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}{hint}')
