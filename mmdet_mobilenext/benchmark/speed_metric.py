# SPDX-License-Identifier: Apache-2.0
"""Time of the metric alone, against mmdet's, on made-up predictions of a whole test set."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from mmdet.datasets import VOCDataset
from mmdet.evaluation.functional import eval_map
from mmdet.evaluation.metrics import VOCMetric
from mmengine.logging import MMLogger, print_log

from mmdet_mobilenext.evaluation.detection_metric import DetectionMetric, ImageResult
from mmdet_mobilenext.evaluation.records import DetectionRecords
from mmdet_mobilenext.log_level import log_level

from .speed.timing import time_interleaved

__all__ = ['MetricTiming', 'compare_metric_speed', 'make_predictions', 'time_metrics']

CLASSES: tuple[str, ...] = tuple(VOCDataset.METAINFO['classes'])
IMAGE_SIZE = (375, 500)


@dataclass(frozen=True)
class MetricTiming:
    """What was measured of one metric.

    Attributes:
        name (str): The metric.
        seconds (list[float]): Each run.
        mean_ap (float): Its 11-point mAP, in 0..1.
    """

    name: str
    seconds: list[float]
    mean_ap: float

    @property
    def median(self) -> float:
        """float: Median, seconds."""
        return statistics.median(self.seconds)


def make_predictions(
    num_images: int = 4952, boxes_per_image: int = 100, seed: int = 0
) -> DetectionRecords:
    """Objects as in VOC2007 test by number, and detections as of a detector that is middling.

    Each image has 1 object or more, 2.4 in the mean; a third are persons, one of six is difficult.
    Two of five detections are jittered from an object, most with its class; the others are
    anywhere. No two scores are equal, so that the order, which mmdet leaves open for equal ones, is
    the same for all metrics.

    Args:
        num_images (int): Images. Defaults to 4952.
        boxes_per_image (int): Detections of each image. Defaults to 100.
        seed (int): The same seed gives the same arrays. Defaults to 0.

    Returns:
        DetectionRecords: Objects and detections, with the classes of VOC.

    Example:
        >>> records = make_predictions(num_images=10, boxes_per_image=7)
        >>> len(records.det_scores), len(records.gt_labels) >= 10
        (70, True)
    """
    rng = np.random.default_rng(seed)
    height, width = IMAGE_SIZE

    def boxes(count: int) -> np.ndarray:
        size = np.exp(rng.uniform(np.log(20), np.log(300), (count, 2)))
        centre = rng.uniform(0, [width, height], (count, 2))
        return np.hstack([centre - size / 2, centre + size / 2])

    objects = 1 + rng.poisson(1.4, num_images)
    num_objects = int(objects.sum())
    person = CLASSES.index('person')
    labels = np.where(
        rng.random(num_objects) < 1 / 3, person, rng.integers(0, len(CLASSES), num_objects)
    )
    gt_boxes = boxes(num_objects)

    count = num_images * boxes_per_image
    images = np.repeat(np.arange(num_images), boxes_per_image)
    found = rng.random(count) < 0.4
    first = np.cumsum(objects) - objects
    source = first[images] + rng.integers(0, objects[images])
    blur = rng.uniform(0.01, 0.4, count)
    sides = np.tile(gt_boxes[source, 2:] - gt_boxes[source, :2], 2)
    near = gt_boxes[source] + rng.normal(0, 1, (count, 4)) * blur[:, None] * sides
    near = np.hstack([np.minimum(near[:, :2], near[:, 2:]), np.maximum(near[:, :2], near[:, 2:])])
    right = found & (rng.random(count) < 0.7)
    sure = rng.normal(0, 1, count) + np.where(right, 1.5 - 3 * blur, -1.0)
    rank = np.empty(count)
    rank[np.argsort(sure)] = np.arange(1, count + 1)
    limits = [width - 1, height - 1, width - 1, height - 1]
    return DetectionRecords(
        classes=CLASSES,
        image_ids=np.array([f'{i:06d}' for i in range(num_images)], dtype=str),
        image_paths=np.array([''] * num_images, dtype=str),
        image_sizes=np.tile(np.array(IMAGE_SIZE, np.int32), (num_images, 1)),
        det_boxes=np.where(found[:, None], near, boxes(count)).clip(0, limits).astype(np.float32),
        det_scores=(rank / (count + 1)).astype(np.float32),
        det_labels=np.where(right, labels[source], rng.integers(0, len(CLASSES), count)).astype(
            np.int32
        ),
        det_images=images.astype(np.int32),
        gt_boxes=gt_boxes.clip(0, limits).astype(np.float32),
        gt_labels=labels.astype(np.int32),
        gt_images=np.repeat(np.arange(num_images), objects).astype(np.int32),
        gt_ignored=rng.random(num_objects) < 1 / 6,
    )


def _per_image(records: DetectionRecords) -> Iterator[tuple[tuple, tuple]]:
    """Detections and objects of each image: the inverse of ``DetectionRecords.from_lists``."""
    det_ends = np.searchsorted(records.det_images, np.arange(records.num_images + 1))
    gt_ends = np.searchsorted(records.gt_images, np.arange(records.num_images + 1))
    for i in range(records.num_images):
        det, gt = slice(*det_ends[i : i + 2]), slice(*gt_ends[i : i + 2])
        yield (
            (records.det_boxes[det], records.det_scores[det], records.det_labels[det]),
            (records.gt_boxes[gt], records.gt_labels[gt], records.gt_ignored[gt]),
        )


def voc_metric_results(records: DetectionRecords) -> list[tuple[dict, list[np.ndarray]]]:
    """What mmdet's ``VOCMetric`` keeps of these images until it computes."""
    results = []
    for (boxes, scores, labels), (gt_boxes, gt_labels, ignored) in _per_image(records):
        rows = np.hstack([boxes, scores[:, None]])
        annotation = dict(
            labels=gt_labels[~ignored].astype(np.int64),
            bboxes=gt_boxes[~ignored],
            bboxes_ignore=gt_boxes[ignored],
            labels_ignore=gt_labels[ignored].astype(np.int64),
        )
        results.append((annotation, [rows[labels == k] for k in range(len(records.classes))]))
    return results


def detection_metric_results(records: DetectionRecords) -> list[ImageResult]:
    """What :class:`DetectionMetric` keeps of these images until it computes."""
    return [
        ImageResult(image_id=name, image_path='', image_size=IMAGE_SIZE, det=det, gt=gt)
        for name, (det, gt) in zip(records.image_ids.tolist(), _per_image(records), strict=True)
    ]


def time_metrics(
    num_images: int = 4952, boxes_per_image: int = 100, runs: int = 5, seed: int = 0
) -> list[MetricTiming]:
    """Time mmdet's ``eval_map``, its ``VOCMetric`` and :class:`DetectionMetric`, in turn.

    Each begins with what the metric keeps of the images, in lists, and ends with its numbers; both
    metrics put the results of the processes together as well. ``VOCMetric`` calls ``eval_map`` with
    4 processes, whatever the machine, and so it is timed. :class:`DetectionMetric` computes VOC
    11-point and area AP and the AP of COCO in the same time.

    Args:
        num_images (int): Images. Defaults to 4952, those of VOC2007 test.
        boxes_per_image (int): Detections of each. Defaults to 100.
        runs (int): Counted runs of each; one before is not. Defaults to 5.
        seed (int): Seed of the predictions. Defaults to 0.

    Returns:
        list[MetricTiming]: In this order.

    Example:
        >>> rows = time_metrics(num_images=20, boxes_per_image=5, runs=1)
        >>> abs(rows[0].mean_ap - rows[2].mean_ap) < 1e-6
        True
    """
    records = make_predictions(num_images, boxes_per_image, seed)
    stock, ours = VOCMetric(eval_mode='11points'), DetectionMetric()
    stock.dataset_meta = ours.dataset_meta = dict(classes=records.classes, dataset_type='VOC2007')
    stock_results, our_results = voc_metric_results(records), detection_metric_results(records)
    annotations, detections = zip(*stock_results, strict=True)
    found: dict[str, float] = {}

    def run_eval_map() -> None:
        found['eval_map'], _ = eval_map(
            detections,
            annotations,
            iou_thr=0.5,
            dataset='voc',
            logger='silent',
            eval_mode='11points',
            use_legacy_coordinate=True,
        )

    def run_stock() -> None:
        stock.results = list(stock_results)
        found['VOCMetric'] = stock.evaluate(num_images)['pascal_voc/mAP']

    def run_ours() -> None:
        ours.results = list(our_results)
        found['DetectionMetric'] = ours.evaluate(num_images)['detection/voc_11point']

    # without the tables that every run logs
    with log_level(MMLogger.get_current_instance(), 'ERROR'):
        times = time_interleaved([run_eval_map, run_stock, run_ours], runs, warm_up=1)
    return [
        MetricTiming(name, [ms / 1000 for ms in row], found[name])
        for name, row in zip(found, times, strict=True)
    ]


def compare_metric_speed(
    num_images: int = 4952, boxes_per_image: int = 100, runs: int = 5, seed: int = 0
) -> list[tuple[str, float]]:
    """Median times of :func:`time_metrics`; whether the metrics agree is logged.

    Args:
        num_images (int): Images. Defaults to 4952, those of VOC2007 test.
        boxes_per_image (int): Detections of each. Defaults to 100.
        runs (int): Counted runs of each. Defaults to 5.
        seed (int): Seed of the predictions. Defaults to 0.

    Returns:
        list[tuple[str, float]]: Name and seconds of ``eval_map``, ``VOCMetric`` and
        ``DetectionMetric``.

    Raises:
        ValueError: If their mAP differ by more than 1e-6 (mmdet sums in single precision): times
            of different results are not to be compared.
    """
    timings = time_metrics(num_images, boxes_per_image, runs, seed)
    base, ours = timings[0], timings[-1]
    differences = {row.name: abs(row.mean_ap - ours.mean_ap) for row in timings[:-1]}
    if max(differences.values()) > 1e-6:
        raise ValueError(
            f'mAP of {ours.name} is {ours.mean_ap}, but others differ by {differences} on '
            f'{num_images} images with {boxes_per_image} boxes and seed {seed}: there is an error '
            'in one of them'
        )
    print_log(
        f'{num_images} images with {boxes_per_image} detections: {ours.name} takes '
        f'{ours.median:.3f} s, {ours.median / base.median:.3f} of {base.name}; mAP '
        f'{ours.mean_ap:.6f}, largest difference {max(differences.values()):.1e}',
        logger='current',
    )
    return [(row.name, row.median) for row in timings]
