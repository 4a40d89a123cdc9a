# SPDX-License-Identifier: Apache-2.0
"""The fused augmentation equals the transforms it fuses, one by one."""

import copy
import pickle

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from PIL import Image

from mmdet_mobilenext.datasets import FusedSSDAugment
from mmdet_mobilenext.datasets.fused_pixels import Colour, Window, choose_reduction, render

BOXES = ((20, 30, 60, 90), (100, 40, 180, 120))
FILL = (104.0, 117.0, 123.0)


def smooth_image(height, width):
    """Waves of low frequency: interpolation and order of operations hardly matter."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    waves = [np.sin(x / 31 + c) + np.cos(y / 23 + 2 * c) for c in range(3)]
    return np.rint(128 + 45 * np.stack(waves, -1)).astype(np.uint8)


def entry(path, boxes=BOXES, size=(150, 200)):
    """What VOCDataset hands to a pipeline."""
    instances = [
        dict(bbox=list(map(float, box)), bbox_label=i, ignore_flag=0) for i, box in enumerate(boxes)
    ]
    return dict(img_path=str(path), img_id='0', height=size[0], width=size[1], instances=instances)


def augmentation(configs, scale=None):
    """The published list, without packing."""
    cfg = Config.fromfile(configs / 'ssdlite_mobilenext_voc07.py')
    listed = copy.deepcopy(cfg.ssd_augmentation)
    if scale is not None:
        listed[-1].scale = scale
    return listed


def run(pipeline, data, seed):
    np.random.seed(seed)
    return pipeline(copy.deepcopy(data))


def pipelines(listed):
    pack = dict(type='PackDetInputs')
    fused = dict(type='FusedSSDAugment', transforms=listed)
    return Compose([*listed, pack]), Compose([fused, pack])


def boxes_of(packed):
    return packed['data_samples'].gt_instances.bboxes.tensor


@pytest.fixture
def image(tmp_path):
    path = tmp_path / 'image.jpg'
    cv2.imwrite(str(path), smooth_image(150, 200), [cv2.IMWRITE_JPEG_QUALITY, 95])
    return path


@pytest.mark.parametrize('boxes', [BOXES, BOXES[:1], ()], ids=['two', 'one', 'none'])
def test_same_seed_same_boxes_and_nearly_the_same_pixels(configs, image, boxes):
    """All that is drawn is drawn alike: equal for each seed, hence in distribution."""
    one_by_one, fused = pipelines(augmentation(configs, (96, 80)))
    data = entry(image, boxes)
    flips, expanded, means = 0, 0, []
    for seed in range(150):
        ours, theirs = run(fused, data, seed), run(one_by_one, data, seed)
        ours_sample, theirs_sample = ours['data_samples'], theirs['data_samples']
        assert torch.equal(boxes_of(ours), boxes_of(theirs))
        assert torch.equal(ours_sample.gt_instances.labels, theirs_sample.gt_instances.labels)
        assert ours_sample.metainfo == theirs_sample.metainfo
        pixels, expected = ours['inputs'], theirs['inputs']
        assert pixels.dtype == expected.dtype and pixels.shape == expected.shape == (3, 80, 96)
        means.append((pixels - expected).abs().mean().item())
        flips += ours_sample.flip
        fill = torch.tensor(FILL)[:, None, None] == pixels
        expanded += bool(fill.all(0).any())
        # where one has the fill, the other has it too
        assert torch.equal(fill.all(0), (torch.tensor(FILL)[:, None, None] == expected).all(0))
    assert np.median(means) < 0.6 and max(means) < 1.5
    assert 50 < flips < 100
    assert 25 < expanded < 100


def test_a_crop_of_the_image_alone_is_the_same_to_rounding(image):
    listed = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='SSDRandomCrop'),
        dict(type='RandomFlip', prob=0.5),
        dict(type='Resize', scale=(64, 64), keep_ratio=False),
    ]
    one_by_one, fused = pipelines(listed)
    for seed in range(40):
        ours, theirs = (run(p, entry(image), seed)['inputs'] for p in (fused, one_by_one))
        assert ours.dtype == theirs.dtype == torch.uint8
        difference = (ours.int() - theirs.int()).abs()
        assert difference.max() <= (1 if max(choose_of(image, seed, listed)) == 1 else 8)


def choose_of(image, seed, listed):
    np.random.seed(seed)
    augment = FusedSSDAugment(listed)
    data = entry(image)
    for transform in augment.annotation_transforms:
        data = transform(data)
    return (choose_reduction(augment._plan(data, (150, 200))[0]),)


def brute_force(image, window, fill):
    """Canvas, crop, resize and flip, in float."""
    height, width = window.image_size
    pad = 2000
    canvas = np.empty((height + 2 * pad, width + 2 * pad, 3), np.float32)
    canvas[:] = fill
    canvas[pad : pad + height, pad : pad + width] = image
    x, y = (offset + pad for offset in window.offset)
    crop = canvas[y : y + window.crop_size[0], x : x + window.crop_size[1]]
    out = cv2.resize(crop, window.out_size[::-1])
    codes = {'horizontal': 1, 'vertical': 0, 'diagonal': -1}
    return out if window.flip is None else cv2.flip(out, codes[window.flip])


@pytest.mark.parametrize('flip', [None, 'horizontal', 'vertical', 'diagonal'])
def test_windows_equal_expanding_cropping_and_resizing(flip):
    """Windows inside of, across and around the image, enlarged and reduced."""
    rng = np.random.default_rng(0)
    image = smooth_image(60, 90)
    colour = Colour()  # float32, unchanged colours
    for _ in range(60):
        crop = tuple(rng.integers(5, 250, 2).tolist())
        offset = tuple(rng.integers(-120, 80, 2).tolist())
        window = Window((60, 90), offset, crop, (48, 56), flip)
        expected = brute_force(image, window, FILL)
        np.testing.assert_allclose(render(image, window, FILL, colour), expected, atol=3.0)


def test_fill_and_soft_border_are_exact():
    """Enlarged four times, a border pixel is mixed with the fill as bilinear interpolation does."""
    image = np.full((4, 4, 3), 200, np.uint8)
    window = Window((4, 4), (-4, 0), (4, 8), (16, 32))
    out = render(image, window, (0, 0, 0), Colour())[..., 0]
    np.testing.assert_allclose(out[0, :14], 0)
    np.testing.assert_allclose(out[0, 14:18], [25, 75, 125, 175])
    np.testing.assert_allclose(out[0, 18:], 200)
    assert render(image, Window((4, 4), (9, 9), (4, 4), (8, 8)), FILL, Colour())[0, 0].tolist() == [
        *FILL
    ]


def test_half_rounds_less_than_the_warp(configs, image):
    single, half = (FusedSSDAugment(augmentation(configs, (40, 40)), half=h) for h in (0, 1))
    for seed in range(20):
        ours, theirs = (run(a, entry(image), seed)['img'] for a in (half, single))
        assert ours.dtype == np.float16 and theirs.dtype == np.float32
        np.testing.assert_allclose(ours.astype(np.float32), theirs, atol=0.26, rtol=0)
        small = np.abs(theirs) < 256
        np.testing.assert_allclose(ours[small].astype(np.float32), theirs[small], atol=0.07)


def test_packing_copies_nothing():
    out = render(smooth_image(40, 50), Window((40, 50), (0, 0), (40, 50), (20, 25)))
    planes = np.ascontiguousarray(out.transpose(2, 0, 1))
    assert np.shares_memory(planes, out)


@pytest.mark.parametrize(
    ('crop', 'reduction'),
    [((100, 100), 1), ((199, 400), 1), ((200, 200), 2), ((401, 900), 4), ((5000, 5000), 8)],
)
def test_images_are_scaled_down_only_as_far_as_pixels_are_left(crop, reduction):
    assert choose_reduction(Window((500, 500), (0, 0), crop, (100, 100))) == reduction


@pytest.mark.parametrize('size', [(150, 200), (149, 203), (333, 257)])
def test_scaled_decoding_shows_the_same_place(tmp_path, size):
    """Also for sizes that eight does not divide: the image must not shift or stretch."""
    path = tmp_path / 'image.jpg'
    cv2.imwrite(str(path), smooth_image(*size), [cv2.IMWRITE_JPEG_QUALITY, 98])
    augment = FusedSSDAugment(
        [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(32, 32), keep_ratio=False)]
    )
    window = Window(size, (-40, -60), (size[0] + 90, size[1] + 100), (24, 28))
    whole = render(augment._decode(str(path), 1), window, FILL, Colour())
    for reduction in (2, 4, 8):
        image = augment._decode(str(path), reduction)
        assert image.shape[:2] == tuple(-(-side // reduction) for side in size)
        difference = np.abs(render(image, window, FILL, Colour()) - whole)
        assert np.median(difference) < 2 and difference.mean() < 4


def test_not_fused_is_the_list_itself(configs, image):
    listed = augmentation(configs)
    one_by_one = Compose(listed)
    switched = FusedSSDAugment(listed, fused=False)
    for seed in range(5):
        ours, theirs = (run(p, entry(image), seed) for p in (switched, one_by_one))
        np.testing.assert_array_equal(ours['img'], theirs['img'])


def test_size_of_the_pixels_counts_when_the_xml_is_wrong(configs, image):
    data = entry(image, size=(75, 100))
    out = run(FusedSSDAugment(augmentation(configs)), data, 3)
    assert out['ori_shape'] == (150, 200)
    without = entry(image)
    del without['height'], without['width']
    assert run(FusedSSDAugment(augmentation(configs)), without, 3)['ori_shape'] == (150, 200)
    zero = entry(image, size=(0, 0))
    assert run(FusedSSDAugment(augmentation(configs)), zero, 3)['ori_shape'] == (150, 200)


@pytest.mark.parametrize('scale', [None, (24, 24)])
def test_orientation_mark_counts(configs, tmp_path, scale):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    path = tmp_path / 'turned.jpg'
    Image.fromarray(smooth_image(150, 200)).save(path, exif=exif, quality=95)
    one_by_one, fused = pipelines(augmentation(configs, scale))
    data = entry(path, size=(200, 150))
    assert FusedSSDAugment(augmentation(configs))._decode(str(path), 4).shape == (200, 150, 3)
    ours, theirs = (run(p, data, 5) for p in (fused, one_by_one))
    assert ours['data_samples'].ori_shape == theirs['data_samples'].ori_shape == (200, 150)
    assert (ours['inputs'] - theirs['inputs']).abs().mean() < (3 if scale else 1.5)


def test_png_is_decoded_whole(configs, tmp_path):
    path = tmp_path / 'image.png'
    cv2.imwrite(str(path), smooth_image(150, 200))
    augment = FusedSSDAugment(augmentation(configs))
    assert augment._decode(str(path), 4).shape == (150, 200, 3)
    one_by_one, fused = pipelines(augmentation(configs, (24, 24)))
    for seed in range(5):
        ours, theirs = (run(p, entry(path), seed)['inputs'] for p in (fused, one_by_one))
        assert (ours - theirs).abs().mean() < 3


def test_bad_files_are_named(configs, tmp_path, image):
    augment = FusedSSDAugment(augmentation(configs))
    with pytest.raises(FileNotFoundError, match='missing'):
        augment(entry(tmp_path / 'missing.jpg'))
    bad = tmp_path / 'bad.jpg'
    bad.write_bytes(b'\xff\xd8 no image')
    with pytest.raises(ValueError, match=r'bad.jpg cannot be decoded \(11 bytes\)'):
        augment(entry(bad))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda t: t.reverse(), 'cannot be fused here|first and Resize last'),
        (lambda t: t.insert(-1, dict(type='MinIoURandomCrop')), 'MinIoURandomCrop cannot be fused'),
        (lambda t: t.append(t[-2]), 'RandomFlip cannot be fused here'),
        (lambda t: t.pop(), 'Resize last'),
        (lambda t: t[-1].update(keep_ratio=True), 'keep_ratio=False'),
        (lambda t: t[0].update(to_float32=True), 'to_float32=False'),
        (lambda t: t[0].update(ignore_empty=True), 'without ignore_empty'),
        (lambda t: t[-1].update(interpolation='area'), "interpolation='bilinear'"),
        (lambda t: t[-1].update(type='FixScaleResize'), 'FixScaleResize cannot be fused'),
    ],
)
def test_lists_that_cannot_be_fused_are_refused(configs, change, message):
    listed = augmentation(configs)
    change(listed)
    with pytest.raises(ValueError, match=message):
        FusedSSDAugment(listed)


def test_workers_can_have_it(configs, image):
    augment = FusedSSDAugment(augmentation(configs))
    again = pickle.loads(pickle.dumps(augment))
    np.testing.assert_array_equal(
        run(again, entry(image), 0)['img'], run(augment, entry(image), 0)['img']
    )


def test_a_cache_changes_no_pixel_and_saves_decoding(configs, image, tmp_path, monkeypatch):
    cache = dict(backend='disk', max_bytes='10MB', directory=str(tmp_path / 'cache'))
    cached = FusedSSDAugment(augmentation(configs, (48, 48)), cache=cache)
    plain = FusedSSDAugment(augmentation(configs, (48, 48)))
    for seed in range(8):
        np.testing.assert_array_equal(
            run(cached, entry(image), seed)['img'], run(plain, entry(image), seed)['img']
        )
    statistics = cached.cache.statistics()
    assert statistics['hits'] + statistics['misses'] == 8 and statistics['misses'] <= 4
    monkeypatch.setattr(cached, '_decode', None)  # all that is needed is there
    for seed in range(8):
        run(cached, entry(image), seed)


def test_a_cache_of_smaller_images_shows_the_same_place(configs, image, tmp_path):
    cache = dict(backend='disk', max_bytes='10MB', directory=str(tmp_path / 'cache'), max_side=77)
    cached = FusedSSDAugment(augmentation(configs, (48, 48)), cache=cache)
    plain = FusedSSDAugment(augmentation(configs, (48, 48)))
    for seed in range(20):
        ours, theirs = (run(a, entry(image), seed) for a in (cached, plain))
        assert torch.equal(ours['gt_bboxes'].tensor, theirs['gt_bboxes'].tensor)
        assert np.abs(ours['img'] - theirs['img']).mean() < 4


def test_a_cache_of_smaller_images_and_a_wrong_size(configs, image, tmp_path):
    cache = dict(backend='disk', max_bytes='10MB', directory=str(tmp_path / 'cache'), max_side=40)
    cached = FusedSSDAugment(augmentation(configs), cache=cache)
    out = run(cached, entry(image, size=(200, 150)), 3)
    assert out['ori_shape'] == (150, 200)


def test_masks_are_refused(configs, image):
    with pytest.raises(ValueError, match='there is gt_masks'):
        FusedSSDAugment(augmentation(configs))(dict(entry(image), gt_masks=None))


def test_sides_beyond_opencvs_limit():
    image = np.zeros((4, 40_000, 3), np.uint8)
    image[:, 20_000:] = 200
    window = Window((4, 40_000), (-2, 0), (8, 40_008), (8, 8))
    out = render(image, window, (9, 9, 9), Colour())[1]
    assert np.abs(out[:, 0] - [0, 0, 0, 0, 200, 200, 200, 200]).max() < 3


def test_a_second_cache_is_refused(configs, tmp_path):
    listed = augmentation(configs)
    cache = dict(backend='disk', max_bytes='10MB', directory=str(tmp_path))
    listed[0] = dict(type='LoadCachedImage', cache=cache)
    with pytest.raises(ValueError, match='cache of its own'):
        FusedSSDAugment(listed)


@pytest.mark.parametrize(
    ('config', 'dataset'),
    [
        ('ssdlite_mobilenext_voc07.py', 'train_dataloader.dataset'),
        ('ssdlite_mobilenext_voc.py', 'train_dataloader.dataset.datasets.1'),
        ('ssdlite_mobilenext_demo.py', 'train_dataloader.dataset'),
    ],
)
def test_switches_of_the_command_line(configs, config, dataset):
    """As docs/data_cache.md and docs/speed.md tell."""
    step = f'{dataset}.pipeline.0'
    options = {f'{step}.fused': False, f'{step}.cache.backend': 'disk'}
    cfg = Config.fromfile(configs / config)
    cfg.merge_from_dict(options)
    for key in dataset.split('.'):
        cfg = cfg[int(key)] if key.isdigit() else cfg[key]
    assert cfg.pipeline[0].fused is False and cfg.pipeline[0].cache.backend == 'disk'
