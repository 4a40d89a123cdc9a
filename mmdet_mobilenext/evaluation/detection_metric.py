# SPDX-License-Identifier: Apache-2.0
"""Metric of MMDetection that gives all accuracy figures at once and keeps the detections."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmdet.registry import METRICS
from mmdet.structures.bbox import get_box_tensor
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger, print_log
from terminaltables import AsciiTable

from mmdet_mobilenext.evaluation.metrics import METRICS as METRIC_NAMES
from mmdet_mobilenext.evaluation.metrics import evaluate
from mmdet_mobilenext.evaluation.records import DetectionRecords

__all__ = ['DetectionMetric']


def _boxes(boxes: Any) -> np.ndarray:
    """Boxes of a tensor, an array or mmdet's box classes, (n, 4) float32."""
    return _array(get_box_tensor(boxes), np.float32, (-1, 4))


def _array(values: Any, dtype: type, shape: tuple[int, ...] = (-1,)) -> np.ndarray:
    values = values.detach().cpu().numpy() if hasattr(values, 'detach') else values
    return np.asarray(values).astype(dtype).reshape(shape)


@dataclass(frozen=True)
class ImageResult:
    """Detections and objects of one image.

    No dictionary or tuple: mmengine goes through those item by item, looking for tensors.

    Attributes:
        image_id (str): Name of the image.
        image_path (str): File, empty if unknown.
        image_size (tuple[int, int]): Height and width, zeros if unknown.
        det (tuple): Boxes (n, 4) and scores (n,), float32, and labels (n,) int32.
        gt (tuple): Boxes (m, 4) float32, labels (m,) int32 and ignore flags (m,) bool.
    """

    image_id: str
    image_path: str
    image_size: tuple[int, int]
    det: tuple[np.ndarray, np.ndarray, np.ndarray]
    gt: tuple[np.ndarray, np.ndarray, np.ndarray]


@METRICS.register_module(force=True)
class DetectionMetric(BaseMetric):
    """VOC 11-point and area AP and COCO-style AP of a detector, from one pass over a test set.

    Gives the means of :func:`~mmdet_mobilenext.evaluation.metrics.evaluate`, with the prefix
    ``detection/`` and as fractions in 0..1; a mean that is not evaluated, because no class has
    objects, is left out. AP of each class is logged as a table.

    The result does not depend on the number of processes: images are sorted by ``str(img_id)``,
    and an image that a padded sampler delivers twice counts once. Objects have to be in pixels of
    the original image, so ``LoadAnnotations`` comes after ``Resize`` in the test pipeline, as it
    does in the configs of MMDetection.

    Args:
        outfile (str | PathLike, optional): ``.npz`` file for detections and objects, see
            :class:`~mmdet_mobilenext.evaluation.records.DetectionRecords`. Defaults to None.
        collect_device (str): ``cpu`` or ``gpu``, where results of several processes are put
            together. Defaults to ``cpu``.
        prefix (str, optional): Put before the names of the metrics. Defaults to None, which is
            ``detection``.

    Example:
        >>> import torch
        >>> metric = DetectionMetric()
        >>> metric.dataset_meta = {'classes': ('cat', 'dog')}
        >>> boxes, labels = torch.tensor([[0.0, 0.0, 9.0, 9.0]]), torch.tensor([0])
        >>> sample = {
        ...     'img_id': 'a',
        ...     'pred_instances': {
        ...         'bboxes': boxes,
        ...         'labels': labels,
        ...         'scores': torch.tensor([0.5]),
        ...     },
        ...     'gt_instances': {'bboxes': boxes, 'labels': labels},
        ... }
        >>> metric.process({}, [sample])
        >>> metric.make_records(metric.results).gt_boxes.tolist()
        [[0.0, 0.0, 9.0, 9.0]]
    """

    default_prefix = 'detection'

    def __init__(
        self,
        outfile: str | os.PathLike | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.outfile = outfile

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep detections and objects of one batch.

        Args:
            data_batch (dict): Not used.
            data_samples (Sequence[dict]): ``DetDataSample`` as dictionaries, with ``img_id``,
                ``pred_instances`` and ``gt_instances``; ``ignored_instances``, ``img_path`` and
                ``ori_shape`` may be absent.

        Raises:
            ValueError: If a sample lacks ``img_id``, ``pred_instances`` or ``gt_instances``.
        """
        for sample in data_samples:
            lacking = [n for n in ('img_id', 'pred_instances', 'gt_instances') if n not in sample]
            if lacking:
                raise ValueError(
                    f'the sample of {sample.get("img_path", "an image")} lacks {lacking}: the test '
                    'pipeline has to load annotations (LoadAnnotations) and to pack img_id '
                    '(meta_keys of PackDetInputs)'
                )
            pred, objects = sample['pred_instances'], [sample['gt_instances']]
            if sample.get('ignored_instances') is not None:
                objects.append(sample['ignored_instances'])
            gt_boxes = [_boxes(instances['bboxes']) for instances in objects]
            gt_labels = [_array(instances['labels'], np.int32) for instances in objects]
            det = (
                _boxes(pred['bboxes']),
                _array(pred['scores'], np.float32),
                _array(pred['labels'], np.int32),
            )
            ignored = np.repeat(
                [False, True][: len(objects)], [len(labels) for labels in gt_labels]
            )
            self.results.append(
                ImageResult(
                    image_id=str(sample['img_id']),
                    image_path=str(sample.get('img_path') or ''),
                    image_size=tuple(int(n) for n in sample.get('ori_shape', (0, 0))[:2]),
                    det=det,
                    gt=(np.concatenate(gt_boxes), np.concatenate(gt_labels), ignored),
                )
            )

    def make_records(self, results: list[ImageResult]) -> DetectionRecords:
        """Put the results of all processes together.

        Args:
            results (list[ImageResult]): Results of :meth:`process`, in any order.

        Returns:
            DetectionRecords: Each image once, sorted by name.

        Raises:
            ValueError: If there is no image, two different images have the same ``img_id``, or the
                class names of the data set are unknown.
        """
        if not results:
            raise ValueError(
                'the test set is empty, so there is nothing to evaluate: check ann_file, '
                'data_prefix and filter_cfg of the test data set'
            )
        if not (self.dataset_meta or {}).get('classes'):
            raise ValueError(
                'class names are unknown: the data set needs METAINFO with classes, or set '
                'dataset_meta of the metric'
            )
        images: dict[str, ImageResult] = {}
        for result in results:
            other = images.setdefault(result.image_id, result)
            if other.image_path != result.image_path:
                raise ValueError(
                    f'img_id {result.image_id} belongs to two images, {other.image_path} and '
                    f'{result.image_path}: evaluate the joined data sets one by one'
                )
        rows = [images[name] for name in sorted(images)]
        return DetectionRecords.from_lists(
            classes=self.dataset_meta['classes'],
            image_ids=[row.image_id for row in rows],
            det=[row.det for row in rows],
            gt=[row.gt for row in rows],
            image_paths=[row.image_path for row in rows],
            image_sizes=[row.image_size for row in rows],
        )

    def compute_metrics(self, results: list[ImageResult]) -> dict[str, float]:
        """Compute all metrics, write ``outfile`` and log the table of classes.

        Args:
            results (list[ImageResult]): Results of :meth:`process` of all processes, in any order.

        Returns:
            dict[str, float]: ``voc_11point``, ``voc_area``, ``coco``, ``coco_50`` and ``coco_75``
            in 0..1, without those that are not evaluated.

        Raises:
            ValueError: If the test set is empty or cannot be evaluated.
        """
        records = self.make_records(results)
        if self.outfile is not None:
            records.save(self.outfile)
        metrics = evaluate(records)
        logger = MMLogger.get_current_instance()
        print_log(f'\n{_table(metrics)}', logger=logger)
        return {name: metrics[name] for name in METRIC_NAMES if metrics[name] is not None}


def _table(metrics: dict) -> str:
    def text(value: float | None) -> str:
        return 'not evaluated' if value is None else f'{value:.3f}'

    columns = ('voc_11point', 'voc_area', 'coco')
    rows = [['class', 'objects', 'difficult', 'detections', *columns]]
    for name, row in metrics['per_class'].items():
        counts = [row[column] for column in ('objects', 'difficult', 'detections')]
        rows.append([name, *counts, *(text(row[column]) for column in columns)])
    rows.append(['mean', '', '', '', *(text(metrics[column]) for column in columns)])
    table = AsciiTable(rows)
    table.inner_footing_row_border = True
    return table.table
