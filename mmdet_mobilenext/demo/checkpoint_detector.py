# SPDX-License-Identifier: Apache-2.0
"""A config with a checkpoint, to be used like an exported file. Needs torch and mmdet."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.apis import inference_detector
from mmdet.structures import DetDataSample
from mmdet.utils import get_test_pipeline_cfg
from mmengine.model import revert_sync_batchnorm
from torch import nn

from mmdet_mobilenext.engine.config import load_config
from mmdet_mobilenext.engine.model_checks import build_model, load_weights
from mmdet_mobilenext.engine.train import check_load_from
from mmdet_mobilenext.export.settings import class_names
from mmdet_mobilenext.runtime.detections import Detections

__all__ = ['CheckpointDetector']


class CheckpointDetector:
    """MMDetection's own inference, with results as those of an exported file.

    Args:
        config (str | os.PathLike): Config file, or ``mmdet::name``.
        checkpoint (str | os.PathLike): Weights, which must match key by key.
        threads (int | None): CPU threads; None leaves PyTorch's. Default: None.
        device (str): Such as ``cuda:0``. Default: 'cpu'.

    Attributes:
        classes (tuple[str, ...]): Names of all classes.

    Raises:
        CheckpointKeyError: If the checkpoint is one of another model.
        FileNotFoundError: If there is no such config or checkpoint.
    """

    def __init__(
        self,
        config: str | os.PathLike,
        checkpoint: str | os.PathLike,
        *,
        threads: int | None = None,
        device: str = 'cpu',
    ) -> None:
        checkpoint = os.fspath(checkpoint)
        if threads:
            torch.set_num_threads(threads)
        cfg = load_config(os.fspath(config))
        check_load_from(checkpoint)
        model = build_model(cfg)
        meta = load_weights(model, checkpoint).get('meta')
        self.classes = class_names(cfg, meta, _num_classes(model))
        self._model = revert_sync_batchnorm(model).to(device).eval()
        self._model.cfg = cfg
        pipeline = get_test_pipeline_cfg(cfg.copy())
        pipeline[0].type = 'mmdet.LoadImageFromNDArray'
        # Built once: inference_detector would build it anew for every picture.
        self._pipeline = Compose(pipeline)

    def __call__(self, image: np.ndarray | Sequence[np.ndarray]) -> Detections | list[Detections]:
        """Detect.

        Args:
            image (np.ndarray | Sequence[np.ndarray]): (H, W, 3) uint8, BGR; or a list of such.

        Returns:
            Detections | list[Detections]: In pixels of the image given.
        """
        found = inference_detector(self._model, image, test_pipeline=self._pipeline)
        if isinstance(image, np.ndarray):
            return self._detections(found, image)
        return [self._detections(*pair) for pair in zip(found, image, strict=True)]

    def _detections(self, found: DetDataSample, image: np.ndarray) -> Detections:
        instances = found.pred_instances.cpu()
        order = instances.scores.argsort(descending=True, stable=True)
        return Detections(
            instances.bboxes[order].numpy().astype(np.float32),
            instances.scores[order].numpy().astype(np.float32),
            instances.labels[order].numpy().astype(np.int64),
            self.classes,
            (image.shape[1], image.shape[0]),
        )


def _num_classes(model: nn.Module) -> int:
    """Classes of the head that gives the detections."""
    head = model.roi_head.bbox_head if hasattr(model, 'roi_head') else model.bbox_head
    return (head[0] if isinstance(head, nn.ModuleList) else head).num_classes
