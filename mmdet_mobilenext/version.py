# SPDX-License-Identifier: Apache-2.0
"""Version of the project, and which versions it works with."""

from typing import Dict, Tuple

from mmengine.utils import digit_version

__all__ = ['REQUIRED_VERSIONS', '__version__', 'check_versions']

__version__ = '0.1.0'

# Import name: (lowest version, first version that is too new).
REQUIRED_VERSIONS: Dict[str, Tuple[str, str]] = {
    'mmcv': ('2.1.0', '3.0.0'),
    'mmengine': ('0.10.5', '1.0.0'),
    'mmdet': ('3.3.0', '4.0.0'),
}


def check_versions(found: Dict[str, str]) -> None:
    """Check the OpenMMLab packages, of either line that provides them.

    Args:
        found (dict[str, str]): Version of each package by import name.

    Raises:
        ImportError: If a package is too old or too new; the message names it,
            the version found and what to do.

    Example:
        >>> check_versions({'mmcv': '2.1.0', 'mmengine': '0.10.7', 'mmdet': '3.3.0'})
    """
    for name, (low, high) in REQUIRED_VERSIONS.items():
        version = found[name]
        if not digit_version(low) <= digit_version(version) < digit_version(high):
            raise ImportError(
                f'mmdet_mobilenext needs {name} >= {low} and < {high}, but found {name} {version}: '
                'install the versions in requirements.txt (`python3 tools/setup_env.py` does)'
            )
