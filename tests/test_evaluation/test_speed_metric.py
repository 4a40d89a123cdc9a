# SPDX-License-Identifier: Apache-2.0
"""The comparison of metrics by time: made-up predictions and what is compared."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from mmdet.evaluation.metrics import VOCMetric
from mmengine.logging import MMLogger

from mmdet_mobilenext.benchmark import speed_metric
from mmdet_mobilenext.benchmark.speed_metric import (
    compare_metric_speed,
    detection_metric_results,
    make_predictions,
    voc_metric_results,
)
from mmdet_mobilenext.evaluation.detection_metric import DetectionMetric


def test_predictions_are_as_told():
    records = make_predictions(num_images=1000, boxes_per_image=20)
    again = make_predictions(num_images=1000, boxes_per_image=20)
    np.testing.assert_array_equal(records.det_boxes, again.det_boxes)
    assert len(records.det_scores) == 20000 == len(np.unique(records.det_scores))
    assert np.bincount(records.det_images).tolist() == [20] * 1000
    assert len(records.gt_labels) / 1000 == pytest.approx(2.4, abs=0.2)
    assert np.bincount(records.gt_images, minlength=1000).min() == 1
    assert records.gt_ignored.mean() == pytest.approx(1 / 6, abs=0.03)
    assert (records.det_boxes[:, :2] <= records.det_boxes[:, 2:]).all()


def test_results_are_what_the_metrics_keep():
    """The metrics are timed from here on, so it must be what ``process`` of each makes."""
    records = make_predictions(num_images=8, boxes_per_image=30)
    samples = []
    for i, (det, gt) in enumerate(speed_metric._per_image(records)):
        boxes, labels, ignored = map(torch.from_numpy, gt)
        samples.append(
            dict(
                img_id=records.image_ids[i],
                ori_shape=speed_metric.IMAGE_SIZE,
                pred_instances=dict(
                    zip(('bboxes', 'scores', 'labels'), map(torch.from_numpy, det), strict=True)
                ),
                gt_instances=dict(bboxes=boxes[~ignored], labels=labels[~ignored].long()),
                ignored_instances=dict(bboxes=boxes[ignored], labels=labels[ignored].long()),
            )
        )
    stock, ours = VOCMetric(), DetectionMetric()
    for metric in (stock, ours):
        metric.dataset_meta = dict(classes=records.classes)
        metric.process({}, samples)
    assert any(ann['labels_ignore'].size for ann, _ in stock.results)
    for (ann, dets), (ann_made, dets_made) in zip(
        stock.results, voc_metric_results(records), strict=True
    ):
        assert ann.keys() == ann_made.keys()
        for name in ann:
            np.testing.assert_array_equal(ann[name], ann_made[name])
            assert ann[name].dtype == ann_made[name].dtype
        for one, made in zip(dets, dets_made, strict=True):
            np.testing.assert_array_equal(one, made)
    one, made = (ours.make_records(r) for r in (ours.results, detection_metric_results(records)))
    for name in ('image_ids', 'image_sizes', 'det_boxes', 'det_scores', 'det_labels', 'det_images'):
        np.testing.assert_array_equal(getattr(one, name), getattr(made, name))
    assert one.gt_ignored.sum() == made.gt_ignored.sum() > 0


def test_names_times_and_agreement(caplog):
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        rows = compare_metric_speed(num_images=40, boxes_per_image=20, runs=2)
    finally:
        logger.removeHandler(caplog.handler)
    assert [name for name, _ in rows] == ['eval_map', 'VOCMetric', 'DetectionMetric']
    assert all(seconds > 0 for _, seconds in rows)
    assert '40 images with 20 detections' in caplog.text and '| class' not in caplog.text
    assert logger.level == logging.NOTSET or logger.isEnabledFor(logging.INFO)


def test_metrics_that_disagree_are_not_compared(monkeypatch):
    make = speed_metric.detection_metric_results

    def broken(records):
        return make(make_predictions(records.num_images, 20, seed=1))

    monkeypatch.setattr(speed_metric, 'detection_metric_results', broken)
    with pytest.raises(ValueError, match=r'mAP of DetectionMetric is .* 40 images with 20 boxes'):
        compare_metric_speed(num_images=40, boxes_per_image=20, runs=1)
