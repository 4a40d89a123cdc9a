# SPDX-License-Identifier: Apache-2.0
"""An exported file in the place of a model, for mmengine's test loop."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmdet.models.utils import samplelist_boxtype2tensor
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import scale_boxes
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet_mobilenext.runtime import Detector

__all__ = ['ExportedDetector']


@MODELS.register_module(force=True)
class ExportedDetector(BaseModel):
    """Detector of an exported file that predicts what the checkpoint's detector predicts.

    It takes what a test pipeline packs, uint8 images in BGR order of the file's size, and gives
    boxes in pixels of the original images, as MMDetection's heads do. It cannot be trained.

    Args:
        path (str): File of ``tools/export.py``.
        backend (str, optional): See :class:`~mmdet_mobilenext.runtime.Detector`. Defaults to the
            one that the file's suffix stands for.
        threads (int, optional): CPU threads of a run. Defaults to those of PyTorch.

    Raises:
        FileNotFoundError, ModelFileError, RuntimeMissingError, ValueError: See ``Detector``.

    Example:
        >>> ExportedDetector('nothing.onnx')
        Traceback (most recent call last):
        ...
        FileNotFoundError: no exported model 'nothing.onnx': tools/export.py writes one
    """

    def __init__(self, path: str, backend: str | None = None, threads: int | None = None) -> None:
        super().__init__()
        threads = torch.get_num_threads() if threads is None else threads
        self.detector = Detector(path, backend, threads)
        # distributed wrappers and hooks want a model with a parameter
        self.placeholder = nn.Parameter(torch.zeros(()))

    def describe(self) -> list[str]:
        """What the file is, for the header of a run.

        Returns:
            list[str]: Parts of a line.
        """
        detector, spec = self.detector, self.detector.spec
        return [
            f'{detector.path} ({spec.precision}, {"x".join(map(str, spec.size))})',
            f'{detector.threads} threads',
        ]

    def forward(
        self,
        inputs: Sequence[Tensor],
        data_samples: Sequence[DetDataSample],
        mode: str = 'predict',
    ) -> list[DetDataSample]:
        """Detect.

        Args:
            inputs (Sequence[Tensor]): Images (3, H, W) uint8, BGR.
            data_samples (Sequence[DetDataSample]): Of each image, with ``scale_factor``.
            mode (str): ``'predict'`` alone. Defaults to ``'predict'``.

        Returns:
            list[DetDataSample]: Those given, with ``pred_instances``.

        Raises:
            ImageError: If the images are of another size or dtype.
            RuntimeError: For another mode.
        """
        if mode != 'predict':
            raise RuntimeError(f'an exported file cannot be run with mode={mode!r}, only tested')
        # of the ground truth, as mmdet's DetDataPreprocessor does it
        samplelist_boxtype2tensor(data_samples)
        images = torch.stack(tuple(inputs)).permute(0, 2, 3, 1).cpu().numpy()
        if self.detector.spec.color == 'rgb':
            images = images[..., ::-1]
        found = self.detector.run(np.ascontiguousarray(images))
        for sample, (boxes, scores, labels) in zip(data_samples, found, strict=True):
            factor = [1 / scale for scale in sample.scale_factor]
            sample.pred_instances = InstanceData(
                bboxes=scale_boxes(torch.from_numpy(boxes), factor),
                scores=torch.from_numpy(scores),
                labels=torch.from_numpy(labels),
            )
        return list(data_samples)
