# SPDX-License-Identifier: Apache-2.0
"""Best thresholds and the images on which two detectors differ."""

from __future__ import annotations

import numpy as np
import pytest
from record_factory import random_records

from mmdet_mobilenext.evaluation.disagreement import (
    image_f1,
    most_different_images,
    score_threshold,
)
from mmdet_mobilenext.evaluation.matching import match_voc
from mmdet_mobilenext.evaluation.records import DetectionRecords

BOX, FAR = [0, 0, 9, 9], [50, 50, 59, 59]


def records_of(det: list[list[tuple]], gt: list[list]) -> DetectionRecords:
    """Images of (box, score) and of boxes, one class."""
    return DetectionRecords.from_lists(
        ['cat'],
        [str(i) for i in range(len(gt))],
        det=[([b for b, _ in d], [s for _, s in d], [0] * len(d)) for d in det],
        gt=[(g, [0] * len(g), [False] * len(g)) for g in gt],
    )


def test_the_threshold_has_the_best_f1():
    # F1 from the top: 2/3, 2/4, 4/5, 4/6.
    det = [[(BOX, 0.75), (FAR, 0.625), (FAR, 0.25)], [(BOX, 0.5)]]
    assert score_threshold(records_of(det, [[BOX], [BOX]])) == 0.5


def test_equal_scores_are_kept_together():
    # Only the hit of 0.5 would be best, but a threshold of 0.5 keeps three false alarms too.
    others = [(FAR, 0.5), (FAR, 0.5), (FAR, 0.5)]
    records = records_of([[(BOX, 0.75)], [(BOX, 0.5), *others]], [[BOX], [BOX]])
    assert score_threshold(records) == 0.75


@pytest.mark.parametrize('det', [[[]], [[(FAR, 0.9)]]])
def test_nothing_right_has_a_threshold_all_the_same(det):
    records = records_of(det, [[BOX]])
    assert score_threshold(records) == 0.5
    assert image_f1(records).tolist() == [0.0]


@pytest.mark.parametrize('seed', range(10))
def test_no_other_threshold_is_better(seed):
    records = random_records(seed, num_images=20)
    matches = match_voc(records)

    def f1(threshold):
        kept = matches.scores >= threshold
        tp, fp = (matches.tp & kept).sum(), (matches.fp & kept).sum()
        return 2 * tp / (tp + fp + matches.num_gt.sum())

    best = f1(score_threshold(records))
    assert best > 0
    assert all(f1(t) <= best for t in np.unique(records.det_scores))


def test_f1_of_images():
    det = [[(BOX, 0.75), (FAR, 0.625)], [], [], [(BOX, 0.25)]]
    records = records_of(det, [[BOX], [], [BOX], []])
    assert image_f1(records, 0.5).tolist() == pytest.approx([2 / 3, 1, 0, 1])


def test_the_most_different_images():
    gt = [[BOX], [BOX, FAR], [BOX], [BOX]]
    right = [[(box, 0.75) for box in boxes] for boxes in gt]
    a = records_of(right, gt)
    b = records_of([[], [], [*right[2], (FAR, 0.75)], right[3]], gt)
    result = most_different_images(a, b)
    # Of equal differences the image with more objects; without a difference, none.
    assert [r['image'] for r in result] == [1, 0, 2]
    assert result[0] == {'image': 1, 'f1_a': 1.0, 'f1_b': 0.0}
    assert result[2]['f1_b'] == pytest.approx(2 / 3)
    assert len(most_different_images(a, b, count=2)) == 2
    assert most_different_images(a, a) == []


def test_other_test_sets_are_refused():
    with pytest.raises(ValueError, match='different data'):
        most_different_images(records_of([[]], [[BOX]]), records_of([[]], [[FAR]]))
