# SPDX-License-Identifier: Apache-2.0
"""Configs by the name of their package: ``mmdet_mobilenext::retinanet/...``.

mmengine finds the configs of a package in its folder ``.mim``. In a checkout that is a link to
``configs/``, in a wheel a copy.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.utils import get_installed_path, is_installed

from .registry import SCOPE

__all__ = ['config_file', 'register_configs', 'resolve_config']

SHOWN = 10
"""Names in an error at most."""
_CONFIGS = Path(__file__).resolve().parent / '.mim' / 'configs'


def register_configs() -> None:
    """Tell mmengine of this package, as it knows OpenMMLab's own.

    Then ``_base_ = 'mmdet_mobilenext::...'`` and ``mmengine.hub.get_config`` find its configs.

    Example:
        >>> register_configs()
        >>> from mmengine.hub import get_config
        >>> cfg = get_config('mmdet_mobilenext::retinanet/retinanet_mobilenext_fpn_1x_coco.py')
        >>> cfg.model.backbone.type
        'MobileNeXt'
    """
    # A module, not the distribution: mmengine then takes the folder that Python imports from. For a
    # distribution mmengine 0.10.7 looks in site-packages, where an editable install has no folder.
    MODULE2PACKAGE.setdefault(SCOPE, f'{SCOPE}.registry')


def config_file(name: str) -> str:
    """Path of a config of this package.

    For ``_base_`` in a config that is read before anything imports this package, as MMDetection's
    own tools do it: ``_base_ = __import__('mmdet_mobilenext').config_file('...')``.

    Args:
        name (str): Path below ``configs/``.

    Returns:
        str: An existing file.

    Raises:
        FileNotFoundError: If there is none; it names some of those in the same folder.

    Example:
        >>> config_file('ssdlite_mobilenext_voc.py').endswith('/configs/ssdlite_mobilenext_voc.py')
        True
    """
    path = _CONFIGS / name
    if not path.is_file():
        raise _not_found(SCOPE, _CONFIGS, name)
    return str(path)


def _not_found(package: str, configs: Path, name: str) -> FileNotFoundError:
    """The error that names what a user may have meant, not more than can be read."""
    path = configs / name
    folder = path if path.is_dir() else path.parent
    known = sorted(
        p.name if p.is_file() else f'{p.name}/'
        for p in (folder.iterdir() if folder.is_dir() else ())
        if p.suffix == '.py' or (p.is_dir() and folder == configs and p.name != '__pycache__')
    )
    # a misspelt name is near those that are meant
    wanted = '' if path.is_dir() else path.name
    near = difflib.get_close_matches(wanted, known, SHOWN, 0) if wanted else known[:SHOWN]
    beside = ', '.join(near) or 'nothing'
    more = f' and {len(known) - len(near)} more' if len(known) > len(near) else ''
    return FileNotFoundError(
        f'no config {name!r} in {package} (looked for {path}); beside it there is {beside}{more}'
    )


def resolve_config(name: str) -> str:
    """Path of a config of any installed package, or of a file.

    Args:
        name (str): ``package::path`` of this package or of one that mmengine knows, such as
            ``mmdet::retinanet/retinanet_r50_fpn_1x_coco.py``, or a path, which is returned as it
            is.

    Returns:
        str: Path of a config file.

    Raises:
        FileNotFoundError: If the package or its config is not there.

    Example:
        >>> resolve_config('mmdet_mobilenext::ssdlite_mobilenext_voc.py')  # doctest: +ELLIPSIS
        '...configs/ssdlite_mobilenext_voc.py'
        >>> resolve_config('configs/my.py')
        'configs/my.py'
    """
    package, mark, below = name.partition('::')
    if not mark:
        return name
    if package == SCOPE:  # also files that are in no folder, which mmengine does not find
        return config_file(below)
    if package not in MODULE2PACKAGE:
        raise FileNotFoundError(
            f'no config {name!r}: mmengine knows no package {package!r}, only '
            + ', '.join(sorted(MODULE2PACKAGE))
        )
    if not is_installed(MODULE2PACKAGE[package]):
        raise FileNotFoundError(f'no config {name!r}: {package} is not installed')
    try:
        return Config._get_cfg_path(name, '')[0]
    except (FileNotFoundError, ValueError):
        configs = Path(get_installed_path(MODULE2PACKAGE[package])) / '.mim' / 'configs'
        if (configs / below).is_file():  # in no folder, where mmengine does not look
            return str(configs / below)
        raise _not_found(package, configs, below) from None
