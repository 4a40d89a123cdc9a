# SPDX-License-Identifier: Apache-2.0
"""Converter for the authors' ImageNet classifiers, MobileNeXt of any width.

Source: https://github.com/zhoudaquan/rethinking_bottleneck_design
(``{'state_dict': ...}``, ``{'state_dict_ema': ...}`` or bare, with or without
``module.`` prefixes).
"""

from collections.abc import Iterable

from torch import Tensor

from .mobilenext import guess_widen_factor, plan_classifier
from .plan import Plan

__all__ = ['CONTAINERS', 'convert', 'guess_widen_factor', 'looks_like']

CONTAINERS = ('state_dict', 'state_dict_ema')


def looks_like(keys: Iterable[str]) -> bool:
    """Whether keys are this source's.

    Args:
        keys (Iterable[str]): Keys of the weights.

    Returns:
        bool: Whether there are sandglass blocks with PyTorch's batch norms.

    Example:
        >>> looks_like(f'features.{i}.conv.9.running_mean' for i in range(1, 20))
        True
    """
    # The last norm of a sandglass block; inverted residuals end before.
    own = (k for k in keys if k.startswith('features.'))
    return sum(k.endswith(('.conv.9.running_mean', '.conv.9.running_var')) for k in own) > 8


def convert(state_dict: dict[str, Tensor]) -> Plan:
    """Convert the weights of a classifier.

    The result has ``backbone.*`` and the classifier as ``head.fc.*``, the
    names of an ``ImageClassifier`` of mmpretrain.

    Args:
        state_dict (dict[str, Tensor]): The authors' weights.

    Returns:
        Plan: What becomes of them; its ``info`` has ``widen_factor`` and ``num_classes``.

    Raises:
        ValueError: If the weights are of another network.
    """
    return plan_classifier(state_dict)
