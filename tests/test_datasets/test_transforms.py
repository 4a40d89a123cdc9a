# SPDX-License-Identifier: Apache-2.0
"""The training pipeline: every draw follows the published distribution."""

import copy

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.config import Config

from mmdet_mobilenext.datasets import DropDifficult, SSDPhotoMetricDistortion, SSDRandomCrop

DRAWS = 10_000


def make_results(boxes=((20, 30, 60, 90), (100, 40, 180, 120)), size=(150, 200)):
    """What LoadAnnotations hands over."""
    height, width = size
    ramp = np.arange(height * width * 3, dtype=np.int64) % 256
    return dict(
        img=ramp.astype(np.uint8).reshape(height, width, 3),
        img_shape=size,
        gt_bboxes=HorizontalBoxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)),
        gt_bboxes_labels=np.arange(len(boxes)),
        gt_ignore_flags=np.zeros(len(boxes), dtype=bool),
    )


@pytest.fixture
def pipeline(configs):
    """The published training pipeline, by type."""
    cfg = Config.fromfile(configs / 'ssdlite_mobilenext_voc07.py')
    fused, pack = cfg.train_dataloader.dataset.pipeline
    return {t.type: t for t in [*fused.transforms, pack]}


@pytest.fixture(autouse=True)
def _seed():
    np.random.seed(0)


def assert_uniform(values, low, high, tolerance=0.02):
    """Mean, extremes and quartiles of a uniform distribution."""
    values = np.asarray(values, dtype=np.float64)
    span = high - low
    assert values.min() >= low - 1e-6 and values.max() <= high + 1e-6
    quartiles = np.quantile(values, [0.25, 0.5, 0.75])
    expected = low + span * np.array([0.25, 0.5, 0.75])
    assert np.abs(quartiles - expected).max() < tolerance * span


def test_order_of_the_published_pipeline(pipeline):
    assert list(pipeline) == [
        'LoadImageFromFile',
        'LoadAnnotations',
        'DropDifficult',
        'SSDPhotoMetricDistortion',
        'Expand',
        'SSDRandomCrop',
        'RandomFlip',
        'Resize',
        'PackDetInputs',
    ]


def test_drop_difficult():
    results = make_results()
    results['gt_ignore_flags'][0] = True
    dropped = DropDifficult()(results)
    assert dropped['gt_bboxes_labels'].tolist() == [1]
    assert dropped['gt_bboxes'].tensor.tolist() == [[100, 40, 180, 120]]
    assert not dropped['gt_ignore_flags'].any()
    results['gt_ignore_flags'][:] = True
    assert len(DropDifficult()(results)['gt_bboxes']) == 0


@pytest.mark.slow
def test_photometric_distribution(pipeline, monkeypatch):
    """10,000 draws: every part with p .5, parameters uniform in their range."""
    transform = TRANSFORMS.build(pipeline['SSDPhotoMetricDistortion'])
    draws = []
    original = transform._random_flags
    monkeypatch.setattr(transform, '_random_flags', lambda: draws.append(original()) or draws[-1])
    for _ in range(DRAWS):
        transform(dict(img=np.full((2, 2, 3), 100, np.uint8)))
    mode, brightness, contrast, saturation, hue, swap, *values = map(
        np.array, zip(*draws, strict=False)
    )
    for flag in (mode, brightness, contrast, saturation, hue, swap):
        assert flag.mean() == pytest.approx(0.5, abs=0.02)
    # Independent of one another.
    flags = np.stack([mode, brightness, contrast, saturation, hue, swap])
    assert np.abs(np.corrcoef(flags) - np.eye(6)).max() < 0.04
    delta, alpha, saturation_factor, hue_delta, permutation = values
    assert_uniform(delta, -32, 32)
    assert_uniform(alpha, 0.5, 1.5)
    assert_uniform(saturation_factor, 0.5, 1.5)
    assert_uniform(hue_delta, -18, 18)
    _, counts = np.unique(permutation, axis=0, return_counts=True)
    assert len(counts) == 6  # all permutations, the identity included
    assert np.abs(counts / DRAWS - 1 / 6).max() < 0.02


def fixed_flags(**kwargs):
    """Draws of the photometric distortion with all parts off but the named."""
    values = dict(
        mode=0,
        brightness=0,
        contrast=0,
        saturation=0,
        hue=0,
        swap=0,
        delta=0.0,
        alpha=1.0,
        saturation_factor=1.0,
        hue_delta=0.0,
        permutation=np.array([0, 1, 2]),
    )
    assert set(kwargs) <= set(values)
    return tuple({**values, **kwargs}.values())


@pytest.mark.parametrize(
    ('flags', 'expected'),
    [
        (dict(brightness=1, delta=-150.0), lambda i: i - 150),
        (dict(contrast=1, alpha=1.5, mode=0), lambda i: i * 1.5),
        (dict(contrast=1, alpha=1.5, mode=1), lambda i: i * 1.5),
        (dict(swap=1, permutation=np.array([2, 0, 1])), lambda i: i[..., [2, 0, 1]]),
        (dict(), lambda i: i),
    ],
)
def test_photometric_parts_do_not_clip(monkeypatch, flags, expected):
    transform = SSDPhotoMetricDistortion()
    monkeypatch.setattr(transform, '_random_flags', lambda: fixed_flags(**flags))
    img = make_results()['img']
    out = transform(dict(img=img.copy()))['img']
    np.testing.assert_allclose(out, expected(img.astype(np.float32)), atol=1e-3)


def test_saturation_and_hue_in_hsv(monkeypatch):
    transform = SSDPhotoMetricDistortion()
    flags = fixed_flags(saturation=1, saturation_factor=1.5, hue=1, hue_delta=-18.0)
    monkeypatch.setattr(transform, '_random_flags', lambda: flags)
    img = np.random.RandomState(0).randint(0, 256, (8, 8, 3)).astype(np.uint8)
    hsv = cv2.cvtColor(img.astype(np.float32), cv2.COLOR_BGR2HSV)
    hsv[..., 1] *= 1.5  # beyond 1: unclipped, as published
    assert hsv[..., 1].max() > 1
    hsv[..., 0] -= 18
    hsv[..., 0][hsv[..., 0] < 0] += 360
    expected = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    out = transform(dict(img=img.copy()))['img']
    np.testing.assert_allclose(out, expected, atol=1e-2)
    assert out.min() < 0


@pytest.mark.slow
def test_expand_distribution(pipeline):
    """10,000 draws: p .5, ratio uniform in 1..4, place uniform, filled with the mean."""
    transform = TRANSFORMS.build(pipeline['Expand'])
    ratios, places = [], []
    for _ in range(DRAWS):
        results = make_results(boxes=((0, 0, 4, 2),), size=(20, 40))
        out = transform(results)
        height, width = out['img_shape']
        if (height, width) == (20, 40):
            continue
        left, top = out['gt_bboxes'].tensor[0, :2].tolist()
        ratios.append(width / 40)
        if width > 80:
            places.append((left / (width - 40), top / (height - 20)))
    assert len(ratios) / DRAWS == pytest.approx(0.5, abs=0.02)
    assert_uniform(ratios, 1, 4, tolerance=0.03)
    assert_uniform(np.array(places)[:, 0], 0, 1, tolerance=0.04)
    assert_uniform(np.array(places)[:, 1], 0, 1, tolerance=0.04)


def test_expand_fills_with_the_mean_in_bgr(pipeline):
    transform = TRANSFORMS.build({**pipeline['Expand'], 'prob': 1.0, 'ratio_range': (4, 4)})
    out = transform(make_results())
    left, top = (out['gt_bboxes'].tensor[0, :2] - torch.tensor([20.0, 30.0])).int().tolist()
    outside = np.ones(out['img_shape'], dtype=bool)
    outside[top : top + 150, left : left + 200] = False
    assert (out['img'][outside] == [104, 117, 123]).all()


def reference_crop(boxes, height, width, rng):
    """The published sampling, written down once more in plain Python.

    Returns the mode that succeeded and the crop (None: the whole image).
    """
    while True:
        mode = [None, 0.1, 0.3, 0.7, 0.9, 0.0][rng.integers(6)]
        if mode is None:
            return mode, None
        for _ in range(50):
            w, h = rng.uniform(0.3 * width, width), rng.uniform(0.3 * height, height)
            if h / w < 0.5 or h / w > 2:
                continue
            x, y = rng.uniform(0, width - w), rng.uniform(0, height - h)
            crop = [int(x), int(y), int(x + w), int(y + h)]
            ious, inside = [], False
            for x1, y1, x2, y2 in boxes:
                iw = min(x2, crop[2]) - max(x1, crop[0])
                ih = min(y2, crop[3]) - max(y1, crop[1])
                inter = max(iw, 0) * max(ih, 0)
                area = (crop[2] - crop[0]) * (crop[3] - crop[1])
                ious.append(inter / ((x2 - x1) * (y2 - y1) + area - inter))
                cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
                inside |= crop[0] < cx < crop[2] and crop[1] < cy < crop[3]
            if max(ious) >= mode and inside:
                return mode, crop
    raise AssertionError


@pytest.mark.slow
@pytest.mark.parametrize(
    'boxes',
    [
        pytest.param(((20, 30, 60, 90), (100, 40, 180, 120)), id='two'),
        pytest.param(((5, 5, 25, 30),), id='small'),
        pytest.param(((10, 10, 190, 140), (60, 60, 70, 75), (150, 5, 195, 30)), id='mixed'),
    ],
)
def test_crop_distribution_equals_the_published_one(boxes):
    """10,000 draws against an independent reference: share of whole images,
    crop sizes, crop places and boxes kept."""
    crop = SSDRandomCrop()
    array = np.array(boxes, dtype=np.float64)
    ours = [crop._sample(array, 150, 200) for _ in range(DRAWS)]
    rng = np.random.default_rng(1)
    theirs = [reference_crop(boxes, 150, 200, rng)[1] for _ in range(DRAWS)]

    def statistics(samples):
        crops = np.array([c for c in samples if c is not None], dtype=np.float64)
        sizes = (crops[:, 2:] - crops[:, :2]) / [200, 150]
        centres = (array[:, :2] + array[:, 2:]) / 2
        inside = (centres > crops[:, None, :2]) & (centres < crops[:, None, 2:])
        kept = inside.all(2).sum(1)
        columns = [sizes[:, 0], sizes[:, 1], crops[:, 0] / 200, crops[:, 1] / 150]
        quantiles = [np.quantile(c, [0.1, 0.25, 0.5, 0.75, 0.9]) for c in columns]
        return 1 - len(crops) / len(samples), np.array(quantiles), kept.mean()

    (whole, quantiles, kept), (whole_ref, quantiles_ref, kept_ref) = map(statistics, (ours, theirs))
    assert whole == pytest.approx(whole_ref, abs=0.02)
    assert np.abs(quantiles - quantiles_ref).max() < 0.025
    assert kept == pytest.approx(kept_ref, abs=0.03)


@pytest.mark.slow
def test_crop_modes_have_equal_chance():
    crop = SSDRandomCrop()
    assert crop.modes == (None, 0.1, 0.3, 0.7, 0.9, 0.0)
    modes = [crop._random_mode() for _ in range(DRAWS)]
    for mode in crop.modes:
        assert modes.count(mode) / DRAWS == pytest.approx(1 / 6, abs=0.02)


def test_crop_asks_the_largest_iou():
    """A large and a tiny box: mmdet's MinIoURandomCrop could never accept .9."""
    boxes = np.array([[0, 0, 200, 150], [90, 70, 94, 74]], dtype=np.float64)
    crop = SSDRandomCrop(min_ious=(0.9,))
    crop.modes = (0.9,)
    for _ in range(20):
        left, top, right, bottom = crop._sample(boxes, 150, 200).tolist()
        assert (right - left) * (bottom - top) / (200 * 150) >= 0.9


def test_crop_keeps_boxes_with_their_centre_inside_and_clips_them(monkeypatch):
    crop = SSDRandomCrop()
    monkeypatch.setattr(crop, '_sample', lambda *a: np.array([30, 40, 150, 130]))
    results = make_results()
    pixels = results['img'].copy()
    out = crop(results)
    np.testing.assert_array_equal(out['img'], pixels[40:130, 30:150])
    assert out['img_shape'] == (90, 120)
    # Centres (40, 60) and (140, 80): both inside.
    assert out['gt_bboxes'].tensor.tolist() == [[0, 0, 30, 50], [70, 0, 120, 80]]
    monkeypatch.setattr(crop, '_sample', lambda *a: np.array([90, 40, 190, 130]))
    out = crop(make_results())
    assert out['gt_bboxes_labels'].tolist() == [1]
    assert out['gt_bboxes'].tensor.tolist() == [[10, 0, 90, 80]]


def test_crop_leaves_an_image_without_boxes_alone():
    results = make_results(boxes=())
    out = SSDRandomCrop()(copy.deepcopy(results))
    np.testing.assert_array_equal(out['img'], results['img'])


@pytest.mark.parametrize('kwargs', [dict(min_crop_size=0), dict(min_ious=(2,))])
def test_bad_crop_arguments_are_named(kwargs):
    with pytest.raises(ValueError, match=f'{next(iter(kwargs))} must be'):
        SSDRandomCrop(**kwargs)


@pytest.mark.slow
def test_flip_distribution(pipeline):
    transform = TRANSFORMS.build(pipeline['RandomFlip'])
    flipped = 0
    for _ in range(DRAWS):
        results = make_results(boxes=((0, 0, 2, 2),), size=(4, 8))
        flipped += transform(results)['flip']
    assert flipped / DRAWS == pytest.approx(0.5, abs=0.02)


def test_flip_mirrors_boxes(pipeline):
    transform = TRANSFORMS.build({**pipeline['RandomFlip'], 'prob': 1.0})
    out = transform(make_results())
    assert out['gt_bboxes'].tensor[0].tolist() == [140, 30, 180, 90]


def test_resize_does_not_keep_the_ratio(pipeline):
    out = TRANSFORMS.build(pipeline['Resize'])(make_results())
    assert out['img'].shape == (320, 320, 3)
    torch.testing.assert_close(out['gt_bboxes'].tensor[0], torch.tensor([32.0, 64.0, 96.0, 192.0]))
