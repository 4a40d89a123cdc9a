# SPDX-License-Identifier: Apache-2.0
"""Kinds of errors and what each costs, by hand and against the authors' program."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from record_factory import random_records

from mmdet_mobilenext.evaluation.error_analysis import (
    ERROR_TYPES,
    SPECIAL_ERRORS,
    error_analysis,
)
from mmdet_mobilenext.evaluation.metrics import evaluate
from mmdet_mobilenext.evaluation.records import DetectionRecords

GOLDEN = json.loads((Path(__file__).parents[1] / 'data' / 'golden_tide.json').read_text())
BOX, FAR = [0, 0, 9, 9], [50, 50, 59, 59]


def records_of(det: list[tuple], gt: list[tuple], classes=('cat', 'dog')) -> DetectionRecords:
    """One image of (box, score, label) and (box, label[, difficult])."""
    return DetectionRecords.from_lists(
        classes,
        ['a'],
        det=[([d[0] for d in det], [d[1] for d in det], [d[2] for d in det])],
        gt=[([g[0] for g in gt], [g[1] for g in gt], [len(g) > 2 and g[2] for g in gt])],
    )


@pytest.mark.parametrize('scene', GOLDEN['scenes'])
def test_the_authors_program_gives_the_same(scene):
    det, gt = np.array(scene['detections']), np.array(scene['objects'])

    def of(rows, image):
        return rows[rows[:, 0] == image]

    images = range(scene['images'])
    records = DetectionRecords.from_lists(
        [str(k) for k in range(scene['classes'])],
        [str(i) for i in images],
        det=[(of(det, i)[:, 3:], of(det, i)[:, 2], of(det, i)[:, 1]) for i in images],
        gt=[(of(gt, i)[:, 2:], of(gt, i)[:, 1], of(gt, i)[:, 0] < 0) for i in images],
    )
    result = error_analysis(records, mode='coco', rules='coco')
    for name, value in scene['tidecv'].items():
        assert result[name] == pytest.approx(value, abs=1e-9), name
    for name, value in scene['counts'].items():
        assert result['counts'][name] == value, name


# Half of the width of a box of ten pixels is beside it: IoU 5 / 15.
@pytest.mark.parametrize(
    ('box', 'label', 'kind'),
    [
        ([5, 0, 14, 9], 0, 'localisation'),
        (BOX, 1, 'classification'),
        ([5, 0, 14, 9], 1, 'both'),
        (FAR, 0, 'background'),
    ],
)
def test_one_error_alone(box, label, kind):
    records = records_of([(box, 0.5, label)], [(BOX, 0), ([90, 90, 99, 99], 1)])
    result = error_analysis(records)
    assert result['base'] == 0
    assert {n for n in ERROR_TYPES[:-1] if result['counts'][n]} == {kind}
    repairs = kind in ('localisation', 'classification')
    assert result[kind] == (0.5 if repairs else 0.0)  # the cat's AP is 1, the dog's is 0
    assert result['counts']['missed'] == (1 if repairs else 2)
    assert result['counts']['false_positive'] == 1 and result['counts']['false_negative'] == 2


def test_duplicates_and_background_cost_precision():
    # By score: false alarm, hit, duplicate, hit. Area: 1/2 * 1/2 + 1/2 * 2/4 = 1/2.
    second = [20, 0, 29, 9]
    det = [(FAR, 0.9, 0), (BOX, 0.8, 0), (BOX, 0.7, 0), (second, 0.6, 0)]
    result = error_analysis(records_of(det, [(BOX, 0), (second, 0)]), mode='area')
    assert result['base'] == 0.5
    assert result['background'] == pytest.approx((0.5 + 0.5 * 2 / 3) - 0.5)
    # Without the duplicate: 1/2 then 2/3, interpolated 2/3 at both.
    assert result['duplicate'] == pytest.approx(2 / 3 - 0.5)
    assert result['false_positive'] == 0.5 and result['false_negative'] == 0.0
    assert result['counts']['duplicate'] == result['counts']['background'] == 1


def test_missed_objects_are_taken_out_of_the_recall():
    result = error_analysis(records_of([(BOX, 0.9, 0)], [(BOX, 0), (FAR, 0)]), mode='area')
    assert (result['base'], result['missed'], result['counts']['missed']) == (0.5, 0.5, 1)
    assert result['false_negative'] == 0.5


def test_a_class_that_is_missed_altogether_stays_in_the_mean():
    result = error_analysis(records_of([(BOX, 0.9, 0)], [(BOX, 0), (FAR, 1)]))
    assert result['base'] == 0.5 and result['missed'] == 0.0


def test_only_the_best_of_several_errors_of_an_object_is_put_right():
    loose = [5, 0, 14, 9]
    det = [(loose, 0.9, 0), ([0, 5, 9, 14], 0.8, 0), (BOX, 0.7, 1)]
    result = error_analysis(records_of(det, [(BOX, 0), (FAR, 1)]))
    assert result['counts']['localisation'] == 2 and result['counts']['classification'] == 1
    assert result['localisation'] == 0.5
    # The best is a localisation error: the classification error is only taken away.
    assert result['classification'] == 0.0


def test_difficult_objects_take_no_part():
    det = [(BOX, 0.9, 0), (FAR, 0.8, 0)]
    result = error_analysis(records_of(det, [(BOX, 0), (FAR, 0, True)]))
    assert result['base'] == 1.0
    assert not any(result['counts'].values())


@pytest.mark.parametrize('rules', ['voc', 'coco'])
@pytest.mark.parametrize('seed', range(20))
def test_kinds_divide_the_false_positives(seed, rules):
    records = random_records(seed, num_images=20)
    result = error_analysis(records, rules=rules)
    counts = result['counts']
    assert sum(counts[n] for n in ERROR_TYPES[:-1]) == counts['false_positive']
    assert counts['missed'] <= counts['false_negative']
    assert all(0 <= result[n] <= 1 - result['base'] + 1e-12 for n in ERROR_TYPES)
    if rules == 'voc':
        assert result['base'] == evaluate(records)['voc_11point']


def test_nothing_to_evaluate_is_none():
    result = error_analysis(records_of([(BOX, 0.9, 0)], []))
    assert all(result[n] is None for n in ('base', *ERROR_TYPES, *SPECIAL_ERRORS))
    assert result['counts']['background'] == 1


def test_no_detections():
    result = error_analysis(records_of([], [(BOX, 0)]))
    assert result['base'] == 0.0 and result['counts']['missed'] == 1


def test_bad_arguments_are_refused():
    records = records_of([], [(BOX, 0)])
    with pytest.raises(ValueError, match="rules is 'kitti'"):
        error_analysis(records, rules='kitti')
    with pytest.raises(ValueError, match='in order'):
        error_analysis(records, background_thr=0.6)
    with pytest.raises(ValueError, match="mode is '12points'"):
        error_analysis(records, mode='12points')
