# SPDX-License-Identifier: Apache-2.0
"""What frozen stages and kept norms do to a backbone in training."""

from __future__ import annotations

from collections.abc import Iterable

from mmengine.model import BaseModule
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ['FreezableBackbone']


class FreezableBackbone(BaseModule):
    """A backbone with ``frozen_stages`` and ``norm_eval``, as MMDetection's have them.

    A subclass sets both, tells by :meth:`frozen_layers` what is frozen, and calls
    :meth:`_freeze_stages` once it is built: DDP looks at ``requires_grad`` when it wraps the model.

    Example:
        >>> class Net(FreezableBackbone):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.frozen_stages, self.norm_eval = 0, False
        ...         self.stem = nn.BatchNorm2d(3)
        ...     def frozen_layers(self):
        ...         return [self.stem]
        >>> Net().train().stem.training
        False
    """

    frozen_stages: int
    norm_eval: bool

    def frozen_layers(self) -> Iterable[nn.Module]:
        """Stem and stages that are frozen; asked for only if ``frozen_stages`` is 0 or more.

        Returns:
            Iterable[nn.Module]: Modules of this backbone.
        """
        raise NotImplementedError

    def _freeze_stages(self) -> None:
        if self.frozen_stages < 0:
            return
        for layer in self.frozen_layers():
            layer.eval()
            for param in layer.parameters():
                param.requires_grad = False

    def train(self, mode: bool = True) -> FreezableBackbone:
        """Switch to training mode, except for frozen stages and, with ``norm_eval``, batch norms.

        Args:
            mode (bool): Training (True) or evaluation. Defaults to True.

        Returns:
            FreezableBackbone: Itself.
        """
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self
