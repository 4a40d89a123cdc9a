# SPDX-License-Identifier: Apache-2.0
"""Version of the project, and which versions it works with."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

__all__ = [
    'REQUIRED_VERSIONS',
    '__version__',
    'check_mmcv_ops',
    'check_versions',
    'installed_versions',
]

__version__ = '0.1.0'

# Import name: (lowest version, first version that is too new).
REQUIRED_VERSIONS: dict[str, tuple[str, str]] = {
    'mmcv': ('2.1.0', '3.0.0'),
    'mmengine': ('0.10.5', '1.0.0'),
    'mmdet': ('3.3.0', '4.0.0'),
}


def installed_versions(names: Iterable[str]) -> dict[str, str]:
    """Versions of packages.

    Args:
        names (Iterable[str]): Of distributions.

    Returns:
        dict[str, str]: By name, of those that are installed.

    Example:
        >>> list(installed_versions(['numpy', 'no_such_package']))
        ['numpy']
    """
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def check_versions(found: dict[str, str]) -> None:
    """Check the OpenMMLab packages, of either line that provides them.

    Args:
        found (dict[str, str]): Version of each package by import name.

    Raises:
        ImportError: If a package is too old or too new; the message names it,
            the version found and what to do.

    Example:
        >>> check_versions({'mmcv': '2.1.0', 'mmengine': '0.10.7', 'mmdet': '3.3.0'})
    """
    # not at the top: the runtime works without mmengine
    from mmengine.utils import digit_version

    for name, (low, high) in REQUIRED_VERSIONS.items():
        if not digit_version(low) <= digit_version(found[name]) < digit_version(high):
            raise ImportError(
                f'mmdet_mobilenext needs {name} >= {low} and < {high}, but found {name} '
                f'{found[name]}: '
                'install the versions in requirements.txt (`python3 tools/setup_env.py` does)'
            )


def check_mmcv_ops() -> None:
    """Check that mmcv has its compiled operators, NMS among them.

    Raises:
        ImportError: If mmcv was built without them; the message says what to do.

    Example:
        >>> check_mmcv_ops()
    """
    try:
        import mmcv._ext  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f'mmcv is installed without its compiled operators ({error}): run '
            '`python3 tools/setup_env.py`, or install mmcv again with --no-build-isolation beside '
            'an installed torch'
        ) from error
