# SPDX-License-Identifier: Apache-2.0
"""Resampled mAP: the same numbers as with the images copied, and intervals that keep their word."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from record_factory import random_records
from simulated_detectors import detect, make_scene

from mmdet_mobilenext.evaluation import bootstrap
from mmdet_mobilenext.evaluation.bootstrap import bootstrap_map, reweighted_average_precisions
from mmdet_mobilenext.evaluation.metrics import evaluate
from mmdet_mobilenext.evaluation.records import DetectionRecords

MODES = {'11points': 'voc_11point', 'area': 'voc_area'}


def per_class(records: DetectionRecords, mode: str) -> np.ndarray:
    values = [v[MODES[mode]] for v in evaluate(records)['per_class'].values()]
    return np.array([np.nan if v is None else v for v in values])


def copied(records: DetectionRecords, weights: np.ndarray) -> DetectionRecords:
    """The test set in which each image really is as often as the weights say."""
    det, gt = [], []
    for i in np.repeat(np.arange(records.num_images), weights):
        d, g = records.det_images == i, records.gt_images == i
        det.append((records.det_boxes[d], records.det_scores[d], records.det_labels[d]))
        gt.append((records.gt_boxes[g], records.gt_labels[g], records.gt_ignored[g]))
    ids = [f'{j}' for j in range(len(det))]
    return DetectionRecords.from_lists(records.classes, ids, det, gt)


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('seed', range(20))
def test_each_image_once_is_the_metric_itself(seed, mode):
    records = random_records(seed, num_images=30)
    ones = np.ones((1, records.num_images), int)
    values = reweighted_average_precisions(records, ones, mode)[0]
    np.testing.assert_array_equal(values, per_class(records, mode))


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('seed', range(20))
def test_weights_are_copies_of_images(seed, mode):
    records = random_records(seed, num_images=15, ties=False)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(15, np.full(15, 1 / 15), size=3)
    values = reweighted_average_precisions(records, weights, mode)
    for row, weight in zip(values, weights, strict=True):
        expected = per_class(copied(records, weight), mode)
        np.testing.assert_allclose(row, expected, rtol=0, atol=1e-12)


def test_by_hand():
    # Best scored: a false positive in image 0. Then hits in images 1 and 2.
    box, other = [0, 0, 9, 9], [50, 50, 59, 59]
    records = DetectionRecords.from_lists(
        ['cat'],
        list('abc'),
        det=[([other], [0.9], [0]), ([box], [0.8], [0]), ([box], [0.7], [0])],
        gt=[([], [], []), ([box], [0], [False]), ([box], [0], [False])],
    )
    weights = [[1, 1, 1], [0, 2, 1], [2, 1, 0], [3, 0, 0], [0, 0, 3]]
    values = reweighted_average_precisions(records, weights, 'area')[:, 0]
    np.testing.assert_allclose(values, [2 / 3, 1, 1 / 3, np.nan, 1], atol=1e-15)


def test_the_point_is_that_of_evaluate_and_the_mean_over_seeds():
    rng = np.random.default_rng(3)
    scene = make_scene(rng, 40)
    first, second = detect(rng, scene), detect(rng, scene, 0.7)
    boot = bootstrap_map([[first], [first, second]], resamples=20)
    expected = [evaluate(r)['voc_11point'] for r in (first, second)]
    assert boot.point[0] == expected[0]
    assert boot.point[1] == pytest.approx(np.mean(expected), abs=1e-15)
    alone = bootstrap_map([[second]], resamples=20)
    np.testing.assert_allclose(boot.map[1], (boot.map[0] + alone.map[0]) / 2, atol=1e-15)
    np.testing.assert_allclose(boot.map, boot.per_class.mean(axis=2), atol=1e-15)
    assert boot.map.shape == (2, 20) and boot.per_class.shape == (2, 20, 3)


def test_the_same_for_the_same_seed_whatever_the_chunks(monkeypatch):
    rng = np.random.default_rng(0)
    scene = make_scene(rng, 30)
    models = [[detect(rng, scene)], [detect(rng, scene)]]
    steps = []
    boot = bootstrap_map(models, 50, seed=4, progress=lambda *done: steps.append(done))
    assert steps[-1] == (50, 50)
    monkeypatch.setattr(bootstrap, '_CHUNK_MOST', 7)
    small = bootstrap_map(models, 50, seed=4)
    np.testing.assert_array_equal(boot.map, small.map)
    np.testing.assert_array_equal(boot.per_class, small.per_class)
    assert not np.array_equal(boot.map, bootstrap_map(models, 50, seed=5).map)


def test_a_model_does_not_differ_from_itself():
    rng = np.random.default_rng(1)
    records = detect(rng, make_scene(rng, 30))
    boot = bootstrap_map([[records], [records]], resamples=100)
    assert not (boot.map[0] - boot.map[1]).any()
    assert boot.difference_interval(0, 1) == (0.0, 0.0)
    low, high = boot.interval(0)
    assert low < boot.point[0] < high


def test_a_class_without_objects_is_in_no_mean():
    box = [0, 0, 9, 9]
    records = DetectionRecords.from_lists(
        ['cat', 'dog', 'cow'],
        ['a', 'b'],
        det=[([box, box], [0.9, 0.8], [0, 2]), ([], [], [])],
        gt=[([box], [0], [False]), ([box], [1], [False])],
    )
    boot = bootstrap_map([[records]], resamples=60)
    # Cat is found and dog is not; a resample has one of them or both, and never a cow.
    cat, dog, cow = boot.per_class[0].T
    np.testing.assert_array_equal(np.unique(boot.map[0]), [0, 0.5, 1])
    np.testing.assert_array_equal(boot.map[0] == 1, np.isnan(dog))
    np.testing.assert_array_equal(boot.map[0] == 0, np.isnan(cat))
    assert np.isnan(cow).all()
    assert boot.class_interval(0, 2) is None
    assert boot.class_interval(0, 0) == (1.0, 1.0)
    assert boot.point[0] == 0.5


def test_nothing_to_evaluate_is_nan_not_zero():
    records = DetectionRecords.from_lists(
        ['cat'], ['a'], det=[([], [], [])], gt=[([[0, 0, 9, 9]], [0], [True])]
    )
    boot = bootstrap_map([[records]], resamples=5)
    assert np.isnan(boot.point).all() and np.isnan(boot.map).all()
    assert np.isnan(boot.interval(0)).all()
    assert boot.class_interval(0, 0) is None


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda r: replace(r, classes=('x', 'y', 'z')), 'model 1, seed 0 have classes'),
        (lambda r: replace(r, image_ids=r.image_ids[::-1]), "image '4' at place 0, not '0'"),
        (lambda r: replace(r, image_ids=r.image_ids[:-1]), '4 images, not 5'),
        (lambda r: replace(r, gt_boxes=r.gt_boxes + 1), 'other objects'),
    ],
)
def test_other_test_sets_are_refused(change, message):
    rng = np.random.default_rng(0)
    records = detect(rng, make_scene(rng, 5))
    with pytest.raises(ValueError, match=message):
        bootstrap_map([[records], [change(records)]], resamples=3)


def test_bad_arguments_are_refused():
    rng = np.random.default_rng(0)
    records = detect(rng, make_scene(rng, 5))
    with pytest.raises(ValueError, match='at least one seed'):
        bootstrap_map([[records], []])
    with pytest.raises(ValueError, match='at least one seed'):
        bootstrap_map([])
    with pytest.raises(ValueError, match='resamples is 0'):
        bootstrap_map([[records]], resamples=0)
    with pytest.raises(ValueError, match="mode is '12points'"):
        bootstrap_map([[records]], mode='12points')
    with pytest.raises(ValueError, match='no image'):
        bootstrap_map([[DetectionRecords.from_lists(['cat'], [], [], [])]])
    with pytest.raises(ValueError, match='level is 95'):
        bootstrap_map([[records]], resamples=3).interval(0, level=95)


@pytest.mark.slow
def test_the_interval_holds_zero_for_models_of_equal_skill():
    """95 % of intervals, give or take what 1,000 simulations can tell."""
    rng = np.random.default_rng(0)
    held = 0
    for simulation in range(1000):
        scene = make_scene(rng)
        models = [[detect(rng, scene)], [detect(rng, scene)]]
        low, high = bootstrap_map(models, 400, seed=simulation).difference_interval(0, 1)
        held += low <= 0 <= high
    assert 0.93 <= held / 1000 <= 0.97


@pytest.mark.slow
def test_the_interval_leaves_zero_for_models_of_other_skill():
    rng = np.random.default_rng(0)
    above = 0
    for simulation in range(100):
        scene = make_scene(rng)
        models = [[detect(rng, scene)], [detect(rng, scene, 0.7)]]
        low, _ = bootstrap_map(models, 400, seed=simulation).difference_interval(0, 1)
        above += low > 0
    assert above >= 90
