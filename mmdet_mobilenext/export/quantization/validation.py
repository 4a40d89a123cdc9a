# SPDX-License-Identifier: Apache-2.0
"""Accuracy of files on the validation data of a config, loaded once."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from typing import Any

from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmdet_mobilenext.datasets.checks import check_dataset_cfgs
from mmdet_mobilenext.engine.test_exported import exported_config
from mmdet_mobilenext.log_level import log_level
from mmdet_mobilenext.runtime import Detector

from ..errors import ExportError

__all__ = ['Validation']

_ONLY_READING = ('filter_cfg', 'indices', 'pipeline', 'test_mode')


class Validation:
    """mAP of exported files on ``val_dataloader`` with ``val_evaluator``, as ``tools/test.py`` has
    it for the test data.

    Args:
        cfg (Config): Config of the detector; not changed.
        path (str | PathLike): The float file.

    Raises:
        DataCheckError, ExportError, FileNotFoundError, OptionError: If file and data do not go
            together, see :func:`~mmdet_mobilenext.engine.test_exported.exported_config`.

    Attributes:
        is_test_set (bool): Whether the config validates on its test data, or on some of them, on
            which nothing may be chosen.
    """

    def __init__(self, cfg: Config, path: str | os.PathLike) -> None:
        sets = [(cfg.get(f'{role}_dataloader') or {}).get('dataset') for role in ('val', 'test')]
        self.is_test_set = _images_of(sets[0]) == _images_of(sets[1])
        run, self.notes = exported_config(cfg, path, role='val')
        check_dataset_cfgs(run, roles=('test',)).raise_if_bad()
        init_default_scope(run.get('default_scope', 'mmdet'))
        loader = Runner.build_dataloader(run.test_dataloader)
        self._model = MODELS.build(run.model)
        self._evaluator = Evaluator(run.test_evaluator)
        self._evaluator.dataset_meta = loader.dataset.metainfo
        self._batches = list(loader)  # images are uint8 of the network's size
        self.threads = self._model.detector.threads

    def __len__(self) -> int:
        return len(self._batches)

    def __call__(self, detector: Detector, indices: Iterable[int] | None = None) -> float:
        """Measure.

        Args:
            detector (Detector): What to measure.
            indices (Iterable[int], optional): Batches of the data. Defaults to all.

        Returns:
            float: mAP in points, 0..100.

        Raises:
            ExportError: If the metric of the config gives no mAP.
        """
        self._model.detector = detector
        seen = 0
        for index in range(len(self)) if indices is None else indices:
            batch = self._batches[index]
            samples = [sample.clone() for sample in batch['data_samples']]
            self._evaluator.process(self._model(batch['inputs'], samples), batch)
            seen += len(samples)
        # without the metric's table of classes: a search measures a hundred times
        with log_level(MMLogger.get_current_instance(), logging.WARNING):
            metrics = self._evaluator.evaluate(seen)
        key = next((name for name in metrics if name.endswith('mAP')), None)
        if key is None:
            raise ExportError(
                f'val_evaluator of the config gives {", ".join(metrics)}, but no mAP to compare'
            )
        return 100 * float(metrics[key])


def _images_of(node: Any) -> Any:
    """What of a data set tells its images: not how they are read, and not how many of them."""
    if isinstance(node, Mapping):
        return {k: _images_of(v) for k, v in node.items() if k not in _ONLY_READING}
    if isinstance(node, (list, tuple)):
        return [_images_of(value) for value in node]
    return node
