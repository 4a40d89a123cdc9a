# SPDX-License-Identifier: Apache-2.0
"""Who is taken for whom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from record_factory import random_records

from mmdet_mobilenext.evaluation.confusion import confusion_matrix
from mmdet_mobilenext.evaluation.records import DetectionRecords

BOX, NEAR, FAR = [0, 0, 9, 9], [0, 0, 9, 7], [50, 50, 59, 59]


def matrix(det: list[tuple], gt: list[tuple], **kwargs) -> list[list[int]]:
    records = DetectionRecords.from_lists(
        ('cat', 'dog'),
        ['a'],
        det=[([d[0] for d in det], [d[1] for d in det], [d[2] for d in det])],
        gt=[([g[0] for g in gt], [g[1] for g in gt], [len(g) > 2 for g in gt])],
    )
    return confusion_matrix(records, **kwargs).tolist()


@pytest.mark.parametrize(
    ('det', 'gt', 'expected'),
    [
        ([(BOX, 0.9, 0)], [(BOX, 0)], [[1, 0, 0], [0, 0, 0], [0, 0, 0]]),
        ([(BOX, 0.9, 1)], [(BOX, 0)], [[0, 1, 0], [0, 0, 0], [0, 0, 0]]),
        ([(FAR, 0.9, 1)], [(BOX, 0)], [[0, 0, 1], [0, 0, 0], [0, 1, 0]]),
        # A surer wrong one does not take the place of a right one.
        ([(BOX, 0.9, 1), (BOX, 0.8, 0)], [(BOX, 0)], [[1, 0, 0], [0, 0, 0], [0, 1, 0]]),
        # A duplicate has no object of its own.
        ([(BOX, 0.9, 0), (NEAR, 0.8, 0)], [(BOX, 0)], [[1, 0, 0], [0, 0, 0], [1, 0, 0]]),
        # Two objects in one place: each gets its own.
        ([(BOX, 0.9, 0), (BOX, 0.8, 1)], [(BOX, 0), (NEAR, 1)], [[1, 0, 0], [0, 1, 0], [0, 0, 0]]),
        # Difficult: neither missed nor, whatever it is taken for, background.
        ([(BOX, 0.9, 0), (BOX, 0.8, 1)], [(BOX, 0, True)], [[0, 0, 0], [0, 0, 0], [0, 0, 0]]),
        ([], [(BOX, 0, True), (FAR, 1)], [[0, 0, 0], [0, 0, 1], [0, 0, 0]]),
        ([], [], [[0, 0, 0], [0, 0, 0], [0, 0, 0]]),
    ],
)
def test_by_hand(det, gt, expected):
    assert matrix(det, gt) == expected


def test_thresholds():
    assert matrix([(BOX, 0.29, 0)], [(BOX, 0)])[0] == [0, 0, 1]
    assert matrix([(BOX, 0.29, 0)], [(BOX, 0)], score_thr=0.25)[0] == [1, 0, 0]
    assert matrix([(NEAR, 0.9, 0)], [(BOX, 0)], iou_thr=0.79)[0] == [1, 0, 0]
    assert matrix([(NEAR, 0.9, 0)], [(BOX, 0)], iou_thr=0.81)[0] == [0, 0, 1]


@pytest.mark.parametrize('seed', range(20))
def test_objects_and_detections_are_counted_once(seed):
    records = random_records(seed, num_images=20, difficult='none')
    result = confusion_matrix(records, score_thr=0.25)
    objects = np.bincount(records.gt_labels, minlength=3)
    kept = records.det_labels[records.det_scores >= 0.25]
    np.testing.assert_array_equal(result[:-1].sum(axis=1), objects)
    np.testing.assert_array_equal(result[:, :-1].sum(axis=0), np.bincount(kept, minlength=3))
    assert result[-1, -1] == 0


def test_labels_outside_of_the_classes_are_refused():
    records = random_records(1)
    with pytest.raises(ValueError, match='detection has label 3'):
        confusion_matrix(replace(records, det_labels=np.full_like(records.det_labels, 3)))
