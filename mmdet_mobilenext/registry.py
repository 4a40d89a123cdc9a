# SPDX-License-Identifier: Apache-2.0
"""Registries of the scope ``mmdet_mobilenext``, one below each of MMDetection's.

Everything of this project is registered with MMDetection. These are empty, and look there: mmengine
builds what a config inherits through ``mmdet_mobilenext::`` in the scope of that name.
"""

from mmdet import registry as mmdet_registry
from mmengine.registry import Registry

__all__ = ['SCOPE', 'add_registries']

SCOPE = 'mmdet_mobilenext'


def add_registries() -> list[Registry]:
    """Put a registry of this scope below each of MMDetection's that has none.

    Returns:
        list[Registry]: Those that were added.

    Example:
        >>> add_registries()
        []
        >>> from mmengine.registry import MODELS
        >>> MODELS.get('mmdet.MobileNeXt').__name__
        'MobileNeXt'
    """
    return [
        # mmengine imports what is registered from the locations of the registry that it asks
        Registry(parent.name, parent=parent, scope=SCOPE, locations=parent._locations)
        for parent in vars(mmdet_registry).values()
        if isinstance(parent, Registry) and parent.scope == 'mmdet' and SCOPE not in parent.children
    ]


add_registries()
