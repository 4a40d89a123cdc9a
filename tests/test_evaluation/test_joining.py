# SPDX-License-Identifier: Apache-2.0
"""Sorting of detections: the same order as numpy's, whatever scores and sizes."""

from __future__ import annotations

import numpy as np
import pytest
from record_factory import random_records

from mmdet_mobilenext.evaluation.joining import join_detections, rank_in_groups, stable_argsort
from mmdet_mobilenext.evaluation.matching import match_coco, match_voc
from mmdet_mobilenext.evaluation.records import DetectionRecords


@pytest.mark.parametrize('most', [1, 3, 2**20, 2**50, 2**62])
@pytest.mark.parametrize('count', [0, 1, 2, 5000])
def test_stable_argsort(most, count):
    """The largest keys leave no room for the position."""
    keys = np.random.default_rng(0).integers(0, most, count)
    if count > 2:
        keys[1::2] = keys[::2]  # equal ones
        keys[:2] = most
    found = stable_argsort(keys)
    np.testing.assert_array_equal(found, np.argsort(keys, kind='stable'))


@pytest.mark.parametrize('kind', ['confident', 'any', 'equal', 'zeros'])
def test_order_is_by_class_then_falling_score_then_as_given(kind):
    rng = np.random.default_rng(1)
    scores = {
        'confident': rng.random(400),
        'any': rng.normal(0, 10.0 ** rng.integers(-40, 38, 400)),
        'equal': rng.integers(0, 4, 400) / 4 - 0.5,
        'zeros': rng.choice([0.0, -0.0], 400),
    }[kind].astype(np.float32)
    labels = rng.integers(0, 3, 400)
    boxes = np.tile([0, 0, 9, 9], (400, 1))
    records = DetectionRecords.from_lists(
        'abc', ['x'], [(boxes, scores, labels)], [(boxes[:1], [0], [False])]
    )
    join = join_detections(records)
    np.testing.assert_array_equal(join.order, np.lexsort((-scores, labels)))
    np.testing.assert_array_equal(join.scores, scores[join.order])
    assert join.starts.tolist() == [0, *np.cumsum(np.bincount(labels)).tolist()]


def test_rank_in_groups():
    groups = np.random.default_rng(2).integers(0, 50, 700)
    expected = [np.count_nonzero(groups[:i] == groups[i]) for i in range(700)]
    assert rank_in_groups(groups).tolist() == expected


@pytest.mark.parametrize('match', [match_voc, match_coco])
def test_a_join_can_be_shared(match):
    records = random_records(5, num_images=30)
    alone, shared = match(records), match(records, join=join_detections(records))
    for name in ('order', 'scores', 'images', 'tp', 'fp', 'gt_index', 'starts'):
        np.testing.assert_array_equal(getattr(alone, name), getattr(shared, name))
