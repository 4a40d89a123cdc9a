# SPDX-License-Identifier: Apache-2.0
"""Average precisions of cases worked out by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from record_factory import random_records

from mmdet_mobilenext.evaluation.average_precision import (
    average_precision,
    class_average_precisions,
    interpolated_precision,
    mean_over_classes,
    precision_recall,
)
from mmdet_mobilenext.evaluation.matching import match_coco, match_voc
from mmdet_mobilenext.evaluation.metrics import METRICS, evaluate, pr_curves
from mmdet_mobilenext.evaluation.records import DetectionRecords

# T F T F F T of 5 objects: precision 1, 2/3, 1/2 at recall 0.2, 0.4, 0.6.
TP = np.array([1, 0, 1, 0, 0, 1], bool)


@pytest.mark.parametrize(
    ('mode', 'expected'),
    [
        # 0, 0.1, 0.2 -> 1; 0.3, 0.4 -> 2/3; 0.5 and 0.6 -> 1/2, but the point is 0.6 + 1e-16
        ('11points', (3 + 2 * 2 / 3 + 1 / 2) / 11),
        ('area', 0.2 * (1 + 2 / 3 + 1 / 2)),
        ('coco', (21 + 20 * 2 / 3 + 20 / 2) / 101),
    ],
)
def test_average_precision_by_hand(mode, expected):
    assert average_precision(TP, ~TP, 5, mode) == pytest.approx(expected, abs=1e-12)


def test_precision_is_interpolated_from_the_right():
    # F T T of 2: precision 1/2, 2/3; the better one counts for both recalls.
    tp = np.array([False, True, True])
    assert average_precision(tp, ~tp, 2, 'area') == pytest.approx(2 / 3)
    assert average_precision(tp, ~tp, 2, '11points') == pytest.approx(2 / 3)
    recall, precision = precision_recall(tp, ~tp, 2)
    assert interpolated_precision(recall, precision, [0, 1]).tolist() == [2 / 3, 2 / 3]


def test_ignored_detections_do_not_change_anything():
    tp = np.array([False, True, False, True])
    fp = np.array([False, False, True, False])
    for mode in ('11points', 'area', 'coco'):
        assert average_precision(tp, fp, 3, mode) == average_precision(tp[1:], fp[1:], 3, mode)


def test_no_detection_is_zero_and_no_object_is_not_evaluated():
    none = np.zeros(0, bool)
    for mode in ('11points', 'area', 'coco'):
        assert average_precision(none, none, 3, mode) == 0
        assert average_precision([False], [True], 3, mode) == 0
        assert average_precision([False], [True], 0, mode) is None
    assert precision_recall([False], [True], 0) is None


def test_unknown_mode():
    for call in (
        lambda: average_precision(TP, ~TP, 5, 'voc'),
        lambda: average_precision(TP, ~TP, 0, 'voc'),
        lambda: class_average_precisions(match_voc(random_records(0)), 'voc'),
    ):
        with pytest.raises(ValueError, match="mode is 'voc'"):
            call()


def test_mean_leaves_out_what_is_not_evaluated():
    assert mean_over_classes(np.array([0.0, np.nan, 1.0])) == 0.5
    assert mean_over_classes(np.array([np.nan, np.nan])) is None
    assert mean_over_classes(np.zeros(0)) is None


@pytest.fixture
def records():
    """Cats: found, missed and difficult; no dog; a bird elsewhere; a difficult cow."""
    box, far, third = [0, 0, 10, 10], [20, 20, 30, 30], [40, 40, 50, 50]
    return DetectionRecords.from_lists(
        ['cat', 'dog', 'bird', 'cow'],
        ['a', 'b'],
        det=[([box, third, far], [0.9, 0.95, 0.4], [0, 0, 2]), ([far], [0.8], [3])],
        gt=[
            ([box, far, third, box], [0, 0, 0, 2], [False, False, True, False]),
            ([far], [3], [True]),
        ],
    )


def test_evaluate_by_hand(records):
    result = evaluate(records)
    cat = {
        'objects': 2,
        'difficult': 1,
        'detections': 2,
        'voc_11point': pytest.approx(6 / 11),
        'voc_area': pytest.approx(0.5),
        'coco': pytest.approx(51 / 101),
    }
    nothing = dict.fromkeys(('voc_11point', 'voc_area', 'coco'))
    assert result['per_class'] == {
        'cat': cat,
        'dog': {'objects': 0, 'difficult': 0, 'detections': 0, **nothing},
        'bird': {
            'objects': 1,
            'difficult': 0,
            'detections': 1,
            'voc_11point': 0,
            'voc_area': 0,
            'coco': 0,
        },
        'cow': {'objects': 0, 'difficult': 1, 'detections': 1, **nothing},
    }
    assert result['voc_11point'] == pytest.approx(3 / 11)  # of cat and bird
    assert result['voc_area'] == pytest.approx(0.25)
    for name in ('coco', 'coco_50', 'coco_75'):
        assert result[name] == pytest.approx(51 / 202)
    assert set(result) == {*METRICS, 'per_class'}
    json.dumps(result, allow_nan=False)


def test_coco_parts_are_at_their_thresholds():
    # IoU 0.8: found at the seven thresholds up to 0.8.
    records = DetectionRecords.from_lists(
        ['cat'], ['a'], [([[0, 0, 10, 8]], [0.9], [0])], [([[0, 0, 10, 10]], [0], [False])]
    )
    result = evaluate(records)
    assert result['coco_50'] == result['coco_75'] == 1
    assert result['coco'] == pytest.approx(0.7)
    low = replace(records, det_boxes=np.array([[0, 0, 10, 7]], np.float32))
    assert evaluate(low)['coco_75'] == 0 and evaluate(low)['coco_50'] == 1


def test_nothing_to_evaluate():
    records = DetectionRecords.from_lists(
        ['cat'], ['a'], [([[0, 0, 9, 9]], [0.9], [0])], [([], [], [])]
    )
    result = evaluate(records)
    assert [result[name] for name in METRICS] == [None] * 5
    assert pr_curves(records) == {'cat': None}


def test_means_are_means_of_classes():
    records = random_records(11, num_images=30, num_classes=5)
    result = evaluate(records)
    for metric in ('voc_11point', 'voc_area', 'coco'):
        values = [row[metric] for row in result['per_class'].values() if row[metric] is not None]
        assert result[metric] == pytest.approx(np.mean(values), abs=1e-12)
        assert 0 < result[metric] < 1
    by_threshold = class_average_precisions(match_coco(records), 'coco')
    assert result['coco_75'] == mean_over_classes(by_threshold[5])
    assert sum(row['detections'] for row in result['per_class'].values()) == len(records.det_scores)


def test_curves_and_average_precision_agree(records):
    curves = pr_curves(records)
    assert curves['dog'] is None and curves['cow'] is None
    assert curves['cat']['recall'] == [i / 100 for i in range(101)]
    assert curves['cat']['precision'] == [1.0] * 51 + [0.0] * 50
    assert curves['bird']['precision'] == [0.0] * 101
    json.dumps(curves, allow_nan=False)


def test_order_of_images_matters_only_for_equal_scores():
    records = random_records(5, num_images=8, ties=False)
    back = np.arange(records.num_images)[::-1]
    dets = np.argsort(back[records.det_images], kind='stable')
    objects = np.argsort(back[records.gt_images], kind='stable')
    turned = replace(
        records,
        det_boxes=records.det_boxes[dets],
        det_scores=records.det_scores[dets],
        det_labels=records.det_labels[dets],
        det_images=back[records.det_images][dets],
        gt_boxes=records.gt_boxes[objects],
        gt_labels=records.gt_labels[objects],
        gt_images=back[records.gt_images][objects],
        gt_ignored=records.gt_ignored[objects],
    )
    assert evaluate(turned) == evaluate(records)
