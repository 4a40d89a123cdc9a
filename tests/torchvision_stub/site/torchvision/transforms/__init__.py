# SPDX-License-Identifier: Apache-2.0
from torchvision import refuse

from . import functional, transforms  # noqa: F401


class RandomResizedCrop:
    """mmpretrain derives a class from it."""

    __init__ = refuse('torchvision.transforms.RandomResizedCrop')
