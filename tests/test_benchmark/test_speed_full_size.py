# SPDX-License-Identifier: Apache-2.0
"""Enlarging a set: images and boxes together, once."""

import xml.etree.ElementTree as ET

import cv2
import pytest
from small_voc import make_small_voc

from mmdet_mobilenext.benchmark.errors import BenchmarkError
from mmdet_mobilenext.benchmark.speed.full_size import STAMP, upscale_box, upscale_voc


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    return make_small_voc(tmp_path_factory.mktemp('source') / 'VOCdevkit', train=3, val=1, test=2)


def files(root):
    return {str(p.relative_to(root)): p.stat().st_mtime_ns for p in root.rglob('*') if p.is_file()}


def boxes(path):
    return [
        [int(node.find(k).text) for k in ('xmin', 'ymin', 'xmax', 'ymax')]
        for node in ET.parse(path).iter('bndbox')
    ]


def test_images_and_boxes_are_scaled_together(small, tmp_path):
    before = files(small)
    made = upscale_voc(small, tmp_path, longer_side=500, num_workers=0)
    assert files(small) == before  # the source is only read
    images = sorted((small / 'VOC2007/JPEGImages').glob('*.jpg'))
    assert len(images) == 6
    number = 0
    for path in images:
        old = cv2.imread(str(path)).shape[:2]
        new = cv2.imread(str(made / 'VOC2007/JPEGImages' / path.name)).shape[:2]
        assert max(new) == 500
        assert min(new) == round(min(old) * 500 / max(old))
        xml = f'VOC2007/Annotations/{path.stem}.xml'
        size = ET.parse(made / xml).find('size')
        assert (int(size.find('height').text), int(size.find('width').text)) == new
        for was, now in zip(boxes(small / xml), boxes(made / xml), strict=True):
            number += 1
            for k, side in enumerate((1, 0)):
                scale = new[side] / old[side]
                assert now[k] == round((was[k] - 1) * scale) + 1
                assert now[k + 2] == min(round(was[k + 2] * scale), new[side])
    assert number
    for name in ('trainval', 'test'):
        listed = f'VOC2007/ImageSets/Main/{name}.txt'
        assert (made / listed).read_text() == (small / listed).read_text()


def test_it_is_made_once_and_again_for_other_settings(small, tmp_path):
    seen = []
    made = upscale_voc(small, tmp_path, 300, num_workers=0, progress=lambda *s: seen.append(s))
    assert seen == [(6, 6)] and (made / STAMP).is_file()
    before = files(made)
    assert upscale_voc(small, tmp_path, 300, progress=lambda *s: seen.append(s)) == made
    assert files(made) == before and len(seen) == 1
    assert upscale_voc(small, tmp_path, 400, num_workers=0) != made
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith('.')) == []


def test_a_changed_source_is_another_set(tmp_path):
    source = make_small_voc(tmp_path / 'VOCdevkit', train=1, val=0, test=1)
    first = upscale_voc(source, tmp_path / 'cache', 300, num_workers=0)
    xml = source / 'VOC2007/Annotations/000001.xml'
    xml.write_text(xml.read_text() + '\n')
    assert upscale_voc(source, tmp_path / 'cache', 300, num_workers=0) != first


def test_an_image_that_fails_leaves_nothing(tmp_path):
    source = make_small_voc(tmp_path / 'VOCdevkit', train=1, val=0, test=1)
    (source / 'VOC2007/JPEGImages/000002.jpg').write_bytes(b'no image')
    with pytest.raises(BenchmarkError, match=r'000002\.jpg cannot be read'):
        upscale_voc(source, tmp_path / 'cache', num_workers=0)
    assert list((tmp_path / 'cache').iterdir()) == []


def test_large_images_are_copied(small, tmp_path):
    made = upscale_voc(small, tmp_path, longer_side=100, num_workers=0)
    for path in (small / 'VOC2007/JPEGImages').glob('*.jpg'):
        copy = made / 'VOC2007/JPEGImages' / path.name
        assert copy.read_bytes() == path.read_bytes()


def test_nothing_is_put_into_the_given_set(small):
    with pytest.raises(BenchmarkError, match='must not be put into'):
        upscale_voc(small, small / 'cache')
    with pytest.raises(BenchmarkError, match='give a VOCdevkit folder'):
        upscale_voc(small / 'VOC2007', small.parent / 'cache')


@pytest.mark.parametrize('size', [(320, 213), (199, 320)])
def test_whole_image_stays_the_whole_image(size):
    new = tuple(round(s * 500 / max(size)) for s in size)
    assert upscale_box((1, 1, *size), size, new) == (1, 1, *new)
    left, top, right, bottom = upscale_box((7, 7, 7, 7), size, new)
    assert left <= right and top <= bottom  # a pixel stays at least one
