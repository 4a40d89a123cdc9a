# SPDX-License-Identifier: Apache-2.0
"""Pictures of detections, as many as wanted."""

from __future__ import annotations

from collections.abc import Sequence

from mmdet.engine.hooks import DetVisualizationHook
from mmdet.registry import HOOKS
from mmdet.structures import DetDataSample
from mmengine.runner import Runner

__all__ = ['PictureHook']


@HOOKS.register_module(force=True)
class PictureHook(DetVisualizationHook):
    """mmdet's visualization hook with a limit on the number of test images.

    Args:
        max_pictures (int, optional): Draw only the first so many test images
            of each process. Defaults to None, all of them.
        **kwargs: Those of mmdet's ``DetVisualizationHook``.

    Example:
        >>> default_hooks = dict(visualization=dict(type='PictureHook', max_pictures=20))
    """

    def __init__(self, max_pictures: int | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.max_pictures = max_pictures

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict,
        outputs: Sequence[DetDataSample],
    ) -> None:
        """Draw the images of a batch, up to the limit.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Index of the batch.
            data_batch (dict): The batch.
            outputs (Sequence[DetDataSample]): Its predictions.
        """
        if self.max_pictures is not None:
            outputs = outputs[: max(0, self.max_pictures - self._test_index)]
        if outputs:
            super().after_test_iter(runner, batch_idx, data_batch, outputs)
