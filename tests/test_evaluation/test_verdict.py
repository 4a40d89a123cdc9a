# SPDX-License-Identifier: Apache-2.0
"""When a difference counts as shown, and what the sentence says."""

from __future__ import annotations

import numpy as np
import pytest
from simulated_detectors import detect, make_scene

from mmdet_mobilenext.evaluation.bootstrap import BootstrapResult, bootstrap_map
from mmdet_mobilenext.evaluation.verdict import compare_models, seed_interval


def boot_of(*maps) -> BootstrapResult:
    maps = np.asarray(maps, float)
    return BootstrapResult(
        map=maps,
        per_class=maps[..., None],
        point=maps.mean(axis=1),
        point_per_class=maps.mean(axis=1)[:, None],
        num_images=500,
        resamples=maps.shape[1],
        seed=0,
    )


SPREAD = np.linspace(-0.032, 0.032, 1001)
FLAT = np.full(1001, 0.55)


def test_better_and_worse():
    boot = boot_of(FLAT, 0.61 + SPREAD)
    (result,) = compare_models(['old', 'new'], boot, [[0.55], [0.61]])
    assert result['verdict'] == 'better'
    assert result['difference'] == pytest.approx(0.06)
    assert result['interval'] == pytest.approx([0.0296, 0.0904])
    assert result['seed_interval'] is None and result['level'] == 0.95
    assert result['metric'] == 'voc_11point'
    assert result['sentence'] == (
        'new is better than old: 61.0 against 55.0 mAP (11-point), difference +6.0, 95 % interval '
        '+3.0 to +9.0 over 500 test images; one training seed, so chance in training is not '
        'covered.'
    )
    (result,) = compare_models(['old', 'new'], boot, [[0.55], [0.61]], baseline=1)
    assert (result['model'], result['baseline'], result['verdict']) == ('old', 'new', 'worse')


def test_an_interval_with_zero_shows_nothing():
    boot = boot_of(FLAT, 0.56 + SPREAD)
    (result,) = compare_models(['old', 'new'], boot, [[0.55], [0.56]])
    assert result['verdict'] == 'no difference shown'
    assert result['sentence'].startswith(
        'no difference shown at this size: new 56.0 against old 55.0 mAP (11-point), '
        'difference +1.0, 95 % interval -2.0 to +4.0 over 500 test images;'
    )


def test_seeds_have_to_agree_too():
    boot = boot_of(FLAT, 0.61 + SPREAD)
    steady = [[0.55, 0.54, 0.56], [0.61, 0.605, 0.615]]
    (result,) = compare_models(['old', 'new'], boot, steady)
    assert result['verdict'] == 'better'
    assert result['seed_differences'] == pytest.approx([0.06, 0.065, 0.055])
    # images: +-0.0304, seeds: +-4.3027 * 0.005 / sqrt(3) = 0.01242; together 0.03284
    assert result['seed_interval'] == pytest.approx([0.0272, 0.0928], abs=1e-4)
    assert 'mean of 3 training seeds' in result['sentence']
    assert '95 % interval over seeds and images +2.7 to +9.3' in result['sentence']

    shaky = [[0.55, 0.50, 0.60], [0.61, 0.66, 0.56]]
    (result,) = compare_models(['old', 'new'], boot, shaky)
    assert result['interval'][0] > 0 and result['seed_interval'][0] < 0
    assert result['verdict'] == 'no difference shown'

    # Both exclude 0, but on different sides.
    (result,) = compare_models(['old', 'new'], boot, [[0.61, 0.62], [0.55, 0.56]])
    assert result['verdict'] == 'no difference shown'


def test_seeds_alone_are_the_t_interval():
    # scipy.stats.ttest_1samp([.06, .065, .055], 0).confidence_interval(): 4.3027 * 0.005 / sqrt(3)
    low, high = seed_interval([0.06, 0.065, 0.055])
    assert (low, high) == pytest.approx((0.0475793, 0.0724207), abs=1e-6)


@pytest.mark.parametrize('seeds', [2, 3, 10])
@pytest.mark.parametrize('ratio', [0.3, 1.0, 3.0])
def test_both_kinds_of_chance_are_covered(seeds, ratio):
    """No true difference, chance of images and training: 0 is outside in at most 5 %."""
    rng = np.random.default_rng(0)
    image_error, outside = 0.01, 0
    for _ in range(2000):
        image = rng.normal(0, image_error)
        differences = image + rng.normal(0, ratio * image_error * np.sqrt(seeds), seeds)
        mean, reach = differences.mean(), 1.96 * image_error
        low, high = seed_interval(differences, 0.95, (mean - reach, mean + reach))
        outside += not low <= 0 <= high
    assert outside / 2000 < 0.065


def test_equal_differences_collapse_to_a_point():
    assert seed_interval([0.25, 0.25]) == (0.25, 0.25)
    boot = boot_of(FLAT, FLAT)
    (result,) = compare_models(['a', 'a again'], boot, [[0.5, 0.6], [0.5, 0.6]])
    assert result['seed_interval'] == [0.0, 0.0] and result['interval'] == [0.0, 0.0]
    assert result['verdict'] == 'no difference shown'
    assert 'difference 0.0, 95 % interval 0.0 to 0.0' in result['sentence']


def test_several_comparisons_share_the_level():
    boot = boot_of(FLAT, 0.5816 + SPREAD, 0.61 + SPREAD)
    maps = [[0.55], [0.5816], [0.61]]
    # The interval reaches 0.0304 at 95 % and 0.0312 at 97.5 %: 0.0316 is beyond both ...
    two = compare_models(['a', 'b', 'c'], boot, maps)
    assert [r['model'] for r in two] == ['b', 'c']
    assert all(r['level'] == pytest.approx(0.975) for r in two)
    assert 'together 95 %' in two[0]['sentence'] and '97.5 % interval' in two[0]['sentence']
    assert [r['verdict'] for r in two] == ['better', 'better']
    # ... and 0.031 only beyond the first.
    closer = boot_of(FLAT, 0.581 + SPREAD, 0.61 + SPREAD)
    maps = [[0.55], [0.581], [0.61]]
    alone = compare_models(['a', 'b'], boot_of(FLAT, 0.581 + SPREAD), maps[:2])
    assert alone[0]['verdict'] == 'better'
    assert compare_models(['a', 'b', 'c'], closer, maps)[0]['verdict'] == 'no difference shown'


def test_itself_and_a_destroyed_model():
    rng = np.random.default_rng(0)
    scene = make_scene(rng, 60)
    good, destroyed = detect(rng, scene), detect(rng, scene, skill=0.0)
    boot = bootstrap_map([[good], [good], [destroyed]], resamples=200)
    maps = [[value] for value in boot.point]
    same, worse = compare_models(['a', 'a again', 'destroyed'], boot, maps)
    assert same['verdict'] == 'no difference shown' and same['interval'] == [0.0, 0.0]
    assert worse['verdict'] == 'worse'


@pytest.mark.parametrize('value', [None, float('nan')])
def test_a_model_without_a_map_is_refused(value):
    with pytest.raises(ValueError, match='new has no mAP'):
        compare_models(['old', 'new'], boot_of(FLAT, FLAT), [[0.5], [value]])


def test_numbers_have_to_fit():
    boot = boot_of(FLAT, FLAT)
    with pytest.raises(ValueError, match='1 names'):
        compare_models(['old'], boot, [[0.5], [0.5]])
    with pytest.raises(ValueError, match='same training seeds'):
        compare_models(['old', 'new'], boot, [[0.5], [0.5, 0.6]])
    with pytest.raises(ValueError, match='num_images is 400'):
        compare_models(['old', 'new'], boot, [[0.5], [0.5]], 400)
    with pytest.raises(ValueError, match='baseline is 2'):
        compare_models(['old', 'new'], boot, [[0.5], [0.5]], baseline=2)
    with pytest.raises(ValueError, match='level is 95'):
        compare_models(['old', 'new'], boot, [[0.5], [0.5]], level=95)
