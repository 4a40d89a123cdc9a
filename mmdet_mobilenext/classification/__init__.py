# SPDX-License-Identifier: Apache-2.0
"""ImageNet pre-training of the backbones with mmpretrain, an optional extra.

The configs in ``configs/imagenet`` ask for it, nothing else does::

    custom_imports = dict(imports=['mmdet_mobilenext.classification'], allow_failed_imports=False)

Importing it registers with mmpretrain the same ``MobileNeXt`` class that the
detectors use, so that a checkpoint of the classifier fits a detector's backbone
key by key.
"""

from mmdet_mobilenext.engine.environment import EnvironmentCheckError
from mmdet_mobilenext.models.mobilenext import MobileNeXt

try:
    import mmpretrain.datasets
    import mmpretrain.models  # noqa: F401
    from mmpretrain.registry import MODELS
# torchvision raises a RuntimeError if it was built for another torch. Not an
# ImportError again: mmengine would hide its message behind one of its own.
except (ImportError, RuntimeError) as error:
    raise EnvironmentCheckError(
        f'classifiers need mmpretrain, but it cannot be imported ({type(error).__name__}: '
        f'{error}): install the extra `imagenet` (in the checkout `pip install -e '
        "'.[imagenet]'`) and the torchvision that belongs to your torch "
        '(https://pytorch.org/get-started/previous-versions)'
    ) from error

from .folders import ImageNetFolder
from .head import DropoutLinearClsHead

MODELS.register_module(module=MobileNeXt, force=True)

__all__ = ['DropoutLinearClsHead', 'ImageNetFolder', 'MobileNeXt']
