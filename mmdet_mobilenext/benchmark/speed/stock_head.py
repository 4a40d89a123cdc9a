# SPDX-License-Identifier: Apache-2.0
"""mmdet's SSD head, able to predict."""

from __future__ import annotations

from typing import Any

from mmdet.models.dense_heads import SSDHead
from mmdet.registry import MODELS

__all__ = ['StockSSDHead', 'let_predict']


@MODELS.register_module(force=True)
class StockSSDHead(SSDHead):
    """mmdet's ``SSDHead``, unchanged but for an attribute that its ``predict`` misses.

    ``SSDHead`` never sets the ``loss_cls`` that its base class reads (mmdet 3.2 and later), so that
    stock SSD can train, but neither validate nor test. Arguments are those of ``SSDHead``.

    Example:
        >>> priors = dict(
        ...     type='SSDAnchorGenerator', strides=[16], ratios=[[2]], min_sizes=[48],
        ...     max_sizes=[100])
        >>> head = StockSSDHead(num_classes=20, in_channels=(96,), anchor_generator=priors)
        >>> head.loss_cls is None
        True
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.loss_cls = None


def let_predict(head: Any) -> None:
    """Give a head that was built already what :class:`StockSSDHead` has.

    Args:
        head (nn.Module): Changed in place.

    Example:
        >>> priors = dict(
        ...     type='SSDAnchorGenerator', strides=[16], ratios=[[2]], min_sizes=[48],
        ...     max_sizes=[100])
        >>> head = SSDHead(num_classes=20, in_channels=(96,), anchor_generator=priors)
        >>> let_predict(head)
        >>> head.loss_cls is None
        True
    """
    if isinstance(head, SSDHead) and not hasattr(head, 'loss_cls'):
        head.loss_cls = None
