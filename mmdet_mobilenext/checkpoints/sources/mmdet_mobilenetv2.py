# SPDX-License-Identifier: Apache-2.0
"""Converter for what has mmdet's MobileNetV2 in it: the backbone is taken.

Source: https://github.com/open-mmlab/mmdetection, ``configs/ssd``, ``configs/yolo``
(``{'meta': ..., 'state_dict': ...}`` of a detector, ``backbone.*``), and the bare backbone behind
``open-mmlab://mmdet/mobilenet_v2``.
"""

from collections.abc import Iterable

from mmdet.models.backbones import MobileNetV2
from torch import Tensor

from mmdet_mobilenext.checkpoints.targets import backbone_shapes

from .mobilenetv2 import plan_classifier
from .plan import Plan

__all__ = ['CONTAINERS', 'convert', 'looks_like']

CONTAINERS = ('state_dict',)

# Parts of a detector that have no place in another detector.
DETECTOR_PARTS = ('neck.', 'bbox_head.', 'rpn_head.', 'roi_head.', 'mask_head.')


def looks_like(keys: Iterable[str]) -> bool:
    """Whether keys are this source's.

    Args:
        keys (Iterable[str]): Keys of the weights.

    Returns:
        bool: Whether most of the blocks are there under mmdet's names.

    Example:
        >>> looks_like(f'backbone.layer3.{i}.linear_conv.conv.weight' for i in range(9))
        True
    """
    own = (k for k in keys if k.startswith(('layer', 'backbone.layer')))
    return sum('.linear_conv.conv.' in k for k in own) > 8


def convert(state_dict: dict[str, Tensor]) -> Plan:
    """Take the backbone.

    Args:
        state_dict (dict[str, Tensor]): Weights of a detector or a backbone, of any width.

    Returns:
        Plan: What becomes of them; its ``info`` has ``widen_factor`` and, of detectors,
        ``left_out``: how many keys of each other part there were. Their names are in the plan's
        ``left_out``.

    Raises:
        ValueError: If the weights are of another network.
    """
    # Of two forms: a single key of the other one is wrong, and is reported.
    prefixed = sum(k.startswith('backbone.') for k in state_dict)
    bare = sum(k.startswith(('conv', 'layer')) for k in state_dict)
    prefix = 'backbone.' if prefixed > bare else ''

    def key_map(_: MobileNetV2) -> dict[str, str]:
        modules = {k.rpartition('.')[0] for k in backbone_shapes('MobileNetV2', 1.0)}
        return {prefix + module.removeprefix('backbone.'): module for module in modules}

    plan = plan_classifier(state_dict, 'mmdet', key_map, head=None)
    if prefix:
        plan.left_out = [k for k in state_dict if k.startswith(DETECTOR_PARTS)]
    if plan.left_out:
        roots = [k.split('.')[0] for k in plan.left_out]
        plan.info['left_out'] = {root: roots.count(root) for root in dict.fromkeys(roots)}
    return plan
