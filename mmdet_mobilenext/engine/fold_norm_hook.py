# SPDX-License-Identifier: Apache-2.0
"""Batch norms that only scale and shift, folded into the convolution before them."""

from __future__ import annotations

from mmcv.cnn import ConvModule
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from .config import hooks_of_type

__all__ = ['FoldNormHook', 'fold_frozen_norms', 'folds_norms']


PLAIN_FORWARDS = (nn.Conv1d.forward, nn.Conv2d.forward, nn.Conv3d.forward)


def fold_frozen_norms(model: nn.Module) -> int:
    """Let convolutions take over what batch norms in eval mode do.

    Weights are folded anew in each forward (mmcv's ``efficient_conv_bn_eval``,
    https://arxiv.org/abs/2305.11624), so norms can be trained again, weights
    get their gradients, and checkpoints stay what they are. A norm that gathers
    statistics is not folded, nor one behind a convolution that is not PyTorch's
    own (deformable, transposed, weight-standardised and others). Results are the
    same but for rounding.

    Args:
        model (nn.Module): Modified in place.

    Returns:
        int: Number of convolutions with a batch norm.

    Example:
        >>> fold_frozen_norms(ConvModule(2, 3, 1, norm_cfg=dict(type='BN')))
        1
    """
    modules = [
        m
        for m in model.modules()
        # mmcv folds into torch's own convolution, whatever a subclass makes of it
        if isinstance(m, ConvModule) and type(m.conv).forward in PLAIN_FORWARDS
    ]
    for module in modules:
        module.turn_on_efficient_conv_bn_eval(True)
    return sum(module.efficient_conv_bn_eval_forward is not None for module in modules)


def folds_norms(cfg: dict) -> bool:
    """Whether a run of this config folds norms.

    Args:
        cfg (dict): Config of a run.

    Returns:
        bool: Whether it has the hook.

    Example:
        >>> folds_norms(dict(custom_hooks=[dict(type='FoldNormHook')]))
        True
    """
    return bool(hooks_of_type(cfg, 'FoldNormHook'))


@HOOKS.register_module(force=True)
class FoldNormHook(Hook):
    """Fold frozen batch norms in testing, and in training with ``norm_eval`` or
    ``frozen_stages``; see :func:`fold_frozen_norms`.

    On CPUs alone: a GPU waits longer for the launches of folding than the norms
    take.

    Example:
        >>> FoldNormHook().priority
        'HIGH'
    """

    # before hooks that copy the model
    priority = 'HIGH'

    def before_run(self, runner: Runner) -> None:
        """Before the first batch.

        Args:
            runner (Runner): The runner.
        """
        if all(parameter.device.type == 'cpu' for parameter in runner.model.parameters()):
            fold_frozen_norms(runner.model)
