# SPDX-License-Identifier: Apache-2.0
"""The generated VOC set: format, labels, determinism, and care with what is already on disk."""

import json
import os
import runpy
import socket
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmdet.datasets import VOCDataset

from mmdet_mobilenext.datasets import generated_voc
from mmdet_mobilenext.datasets.generated_render import render
from mmdet_mobilenext.datasets.generated_scenes import (
    MIN_VISIBLE,
    Scene,
    add_object,
    make_scene,
)
from mmdet_mobilenext.datasets.generated_shapes import GENERATED_CLASSES, OBJECT_SHAPES
from mmdet_mobilenext.datasets.generated_voc import STAMP, generate_voc

SPLITS = {'train': 130, 'val': 10, 'test': 30}
TINY = {'train': 3, 'test': 1}


def quiet(dest: Path, splits: dict, **kwargs) -> Path:
    return generate_voc(dest, splits, **{'num_workers': 0, 'progress': False, **kwargs})


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob('*') if p.is_file()}


def members(root: Path, split: str) -> list[str]:
    return (root / f'VOC2007/ImageSets/Main/{split}.txt').read_text().split()


def boxes_of(xml: ET.Element) -> list[list[int]]:
    return [
        [int(node.find(f'bndbox/{key}').text) for key in ('xmin', 'ymin', 'xmax', 'ymax')]
        for node in xml.iter('object')
    ]


@pytest.fixture(scope='module')
def root(tmp_path_factory) -> Path:
    return quiet(tmp_path_factory.mktemp('generated') / 'VOCdevkit', SPLITS, seed=3)


@pytest.fixture(scope='module')
def annotations(root) -> dict[str, ET.Element]:
    paths = sorted((root / 'VOC2007/Annotations').iterdir())
    return {path.stem: ET.parse(path).getroot() for path in paths}


def read(root: Path, name: str) -> np.ndarray:
    return cv2.imread(str(root / f'VOC2007/JPEGImages/{name}.jpg'))


# The set


def test_split_files_part_the_images(root, annotations):
    for split, number in SPLITS.items():
        assert len(members(root, split)) == number
    assert members(root, 'trainval') == members(root, 'train') + members(root, 'val')
    everything = members(root, 'trainval') + members(root, 'test')
    assert sorted(everything) == sorted(annotations) == sorted(set(everything))
    images = {path.name for path in (root / 'VOC2007/JPEGImages').iterdir()}
    assert images == {f'{name}.jpg' for name in everything}


def test_annotations_are_voc(root, annotations):
    sizes = set()
    for name, xml in annotations.items():
        height, width, depth = read(root, name).shape
        assert xml.tag == 'annotation'
        assert xml.find('folder').text == 'VOC2007'
        assert xml.find('filename').text == f'{name}.jpg'
        assert xml.find('source/database').text
        assert xml.find('segmented').text == '0'
        size = [int(xml.find(f'size/{key}').text) for key in ('width', 'height', 'depth')]
        assert size == [width, height, depth]
        assert width != height
        assert 200 <= max(width, height) <= 260
        sizes.add((width, height))
        for node in xml.iter('object'):
            fields = ['name', 'pose', 'truncated', 'difficult', 'bndbox']
            assert [child.tag for child in node] == fields
            assert node.find('name').text in GENERATED_CLASSES
            assert node.find('truncated').text in ('0', '1')
            assert node.find('difficult').text in ('0', '1')
        for x1, y1, x2, y2 in boxes_of(xml):
            assert 1 <= x1 < x2 <= width
            assert 1 <= y1 < y2 <= height
    assert len(sizes) > 20
    assert {w > h for w, h in sizes} == {True, False}


def test_stamp_counts_what_the_annotations_say(root, annotations):
    stamp = json.loads((root / STAMP).read_text())
    for split in SPLITS:
        xmls = [annotations[name] for name in members(root, split)]
        nodes = [node for xml in xmls for node in xml.iter('object')]
        names = [node.find('name').text for node in nodes]
        found = {
            'objects': len(nodes),
            'difficult': sum(node.find('difficult').text == '1' for node in nodes),
            'truncated': sum(node.find('truncated').text == '1' for node in nodes),
            'images_without_objects': sum(not boxes_of(xml) for xml in xmls),
            **{name: names.count(name) for name in GENERATED_CLASSES},
        }
        assert stamp['counts'][split] == found
    train = stamp['counts']['train']
    assert train['images_without_objects'] == 2  # of 130: about 1 %
    assert stamp['counts']['test']['images_without_objects'] == 0
    assert 0 < train['difficult'] < 0.3 * train['objects']
    assert 0 < train['truncated'] < 0.5 * train['objects']
    assert min(train[name] for name in GENERATED_CLASSES) > 10


def test_mmdetection_reads_it(root):
    classes = VOCDataset.METAINFO['classes']
    assert list(GENERATED_CLASSES) == [name for name in classes if name in GENERATED_CLASSES]
    data = VOCDataset(
        data_root=str(root),
        ann_file='VOC2007/ImageSets/Main/train.txt',
        data_prefix={'sub_data_root': 'VOC2007/'},
        metainfo={'classes': GENERATED_CLASSES},
        pipeline=[],
        test_mode=True,
    )
    train = json.loads((root / STAMP).read_text())['counts']['train']
    found = [instance for k in range(len(data)) for instance in data.get_data_info(k)['instances']]
    assert len(data) == SPLITS['train']
    assert len(found) == train['objects']
    assert sum(instance['ignore_flag'] for instance in found) == train['difficult']


def nearest_centroid_accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    fit, ask = slice(0, None, 2), slice(1, None, 2)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    centroids = [features[fit][labels[fit] == k].mean(axis=0) for k in range(8)]
    distance = np.linalg.norm(features[ask][:, None] - np.array(centroids), axis=2)
    return float((distance.argmin(axis=1) == labels[ask]).mean())


def test_shape_and_not_colour_tells_the_class(root, annotations):
    labels, colours, shapes = [], [], []
    hog = cv2.HOGDescriptor((64, 64), (16, 16), (16, 16), (8, 8), 9)
    for name, xml in annotations.items():
        image = read(root, name)
        for node, (x1, y1, x2, y2) in zip(xml.iter('object'), boxes_of(xml), strict=True):
            if node.find('difficult').text == '0':
                crop = image[y1 - 1 : y2, x1 - 1 : x2]
                labels.append(GENERATED_CLASSES.index(node.find('name').text))
                colours.append(crop.mean(axis=(0, 1)))
                shapes.append(hog.compute(cv2.resize(crop, (64, 64))).ravel())
    labels = np.array(labels)
    chance, spread = 1 / 8, np.sqrt(7 / 64 / (len(labels) / 2))
    assert nearest_centroid_accuracy(np.array(colours), labels) < chance + 3.5 * spread
    assert nearest_centroid_accuracy(np.array(shapes), labels) > 3 * chance


# Labels of a scene


def blank_scene(value: float, shape: tuple[int, int] = (120, 150)) -> Scene:
    image = np.full((*shape, 3), value, np.float32)
    return Scene(image, np.full(shape, -1, np.int8))


@pytest.mark.parametrize('x', [20, -15, 110])
@pytest.mark.parametrize('name', GENERATED_CLASSES)
def test_box_is_tight(name, x):
    rng = np.random.default_rng(7)
    patch = render(OBJECT_SHAPES[name](rng), rng, 70, 0.1, np.full(3, 128))
    changed = np.zeros((120, 150), bool)
    for value in (0, 255):  # a colour like the one background differs from the other
        scene = blank_scene(value)
        if not add_object(scene, name, patch, x, 10):
            pytest.fail(f'{name} at {x} was refused')
        changed |= (np.abs(scene.image - value) > 1).any(axis=2)
    ys, xs = np.nonzero(changed)
    (known,) = scene.objects
    assert known.box == (xs.min(), ys.min(), xs.max(), ys.max())
    assert known.truncated == (x < 0 or x + patch.shape[1] > 150)
    if not known.truncated:
        assert (known.visible, known.difficult) == (1.0, False)


def test_hidden_and_tiny_objects_are_difficult():
    solid = np.full((60, 60, 4), 255, np.uint8)
    scene = blank_scene(0)
    assert add_object(scene, 'car', solid, 0, 0)
    assert add_object(scene, 'boat', solid, 0, 30)
    assert [o.visible for o in scene.objects] == [0.5, 1.0]
    assert not scene.objects[0].difficult
    assert add_object(scene, 'person', solid, 42, 0)  # leaves 42 x 30 of 60 x 60
    assert scene.objects[0].visible == pytest.approx(0.35)
    assert scene.objects[0].difficult
    assert scene.objects[0].box == (0, 0, 59, 59)  # as if nothing stood in front

    before = scene.image.copy()
    assert not add_object(scene, 'chair', solid, 10, 0)  # would hide too much of the first
    assert len(scene.objects) == 3
    np.testing.assert_array_equal(scene.image, before)

    scene = blank_scene(0)
    assert add_object(scene, 'car', solid[:13, :13], 0, 0)
    assert add_object(scene, 'car', solid[:14, :8], 50, 50)
    assert [o.difficult for o in scene.objects] == [True, False]


def test_objects_outside_the_image_are_refused():
    solid = np.full((60, 60, 4), 255, np.uint8)
    scene = blank_scene(0)
    assert not add_object(scene, 'car', solid, -40, 0)
    assert add_object(scene, 'car', solid, -30, 0)
    assert scene.objects[0].box == (0, 0, 29, 59)
    assert scene.objects[0].truncated


def test_visible_fraction_is_that_of_the_finished_scene():
    hidden = 0
    for seed in range(60):
        scene = make_scene(np.random.default_rng(seed), (96, 128))
        assert scene.objects
        for k, known in enumerate(scene.objects):
            seen = np.count_nonzero(scene.owner == k) / known.area
            assert known.visible == pytest.approx(seen)
            assert seen >= MIN_VISIBLE
            hidden += seen < 0.9 and not known.truncated
    assert hidden > 5


# What is on disk


def test_same_bytes_with_any_number_of_workers(tmp_path):
    splits = {'train': 20, 'val': 3, 'test': 18}
    one = contents(quiet(tmp_path / 'one', splits))
    two = contents(quiet(tmp_path / 'two', splits, num_workers=2))
    assert len(one) == 2 * 41 + 5
    assert one == two
    other = contents(quiet(tmp_path / 'other', splits, seed=1))
    pictures = [path for path in one if path.endswith('.jpg')]
    assert all(one[path] != other[path] for path in pictures)
    assert len({one[path] for path in pictures}) == 41


def test_progress_bar_ends_with_the_last_image(tmp_path, capsys):
    quiet(tmp_path / 'set', {'train': 51}, progress=True)
    assert '51/51' in capsys.readouterr().out


def test_second_call_does_nothing(tmp_path, monkeypatch):
    dest = quiet(tmp_path / 'VOCdevkit', TINY)
    before = contents(dest)
    monkeypatch.setattr(generated_voc, '_draw', None)
    assert quiet(dest, TINY) == dest
    assert contents(dest) == before


def test_other_arguments_are_an_error_unless_forced(tmp_path):
    dest = quiet(tmp_path / 'VOCdevkit', TINY)
    before = contents(dest)
    with pytest.raises(ValueError, match=r'seed is 0 there and 1 here.*--force'):
        quiet(dest, TINY, seed=1)
    with pytest.raises(ValueError, match=r'image_size is .*splits is '):
        quiet(dest, {'train': 2}, image_size=(100, 120))
    assert contents(dest) == before
    quiet(dest, {'train': 2}, seed=1, force=True)
    assert members(dest, 'train') == ['000001', '000002']
    assert contents(dest) == contents(quiet(tmp_path / 'fresh', {'train': 2}, seed=1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ['VOCdevkit', 'fresh']


@pytest.mark.parametrize(
    'lost', ['JPEGImages/000002.jpg', 'Annotations/000002.xml', 'ImageSets/Main/test.txt']
)
def test_incomplete_set_is_an_error(tmp_path, lost):
    dest = quiet(tmp_path / 'VOCdevkit', TINY)
    (dest / 'VOC2007' / lost).unlink()
    with pytest.raises(ValueError, match='--force'):
        quiet(dest, TINY)
    quiet(dest, TINY, force=True)
    assert (dest / 'VOC2007' / lost).is_file()


def test_unreadable_stamp_is_an_error(tmp_path):
    dest = quiet(tmp_path / 'VOCdevkit', TINY)
    (dest / STAMP).write_text('{"seed": ')
    with pytest.raises(ValueError, match=rf'{STAMP} cannot be read'):
        quiet(dest, TINY)


@pytest.mark.parametrize('force', [False, True])
def test_foreign_folder_is_left_alone(tmp_path, force):
    mine = tmp_path / 'VOCdevkit/VOC2007/JPEGImages/000005.jpg'
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b'mine')
    with pytest.raises(FileExistsError, match='VOCdevkit exists and was not generated'):
        quiet(tmp_path / 'VOCdevkit', TINY, force=force)
    assert contents(tmp_path) == {'VOCdevkit/VOC2007/JPEGImages/000005.jpg': b'mine'}


def test_empty_folder_is_used_and_link_is_kept(tmp_path):
    (tmp_path / 'disk').mkdir()
    link = tmp_path / 'VOCdevkit'
    link.symlink_to(tmp_path / 'disk')
    quiet(link, TINY)
    assert link.is_symlink()
    assert (tmp_path / 'disk' / STAMP).is_file()


@pytest.mark.parametrize('name', ['VOCdevkit', 'voc [1]'])
def test_work_folder_of_a_killed_run_is_removed(tmp_path, name):
    process = subprocess.Popen([sys.executable, '-c', ''])
    process.wait()
    prefix = f'.{name}.unfinished-'
    dead = tmp_path / f'{prefix}{socket.gethostname()}-{process.pid}'
    living = tmp_path / f'{prefix}{socket.gethostname()}-{os.getppid()}'
    far, far_old = tmp_path / f'{prefix}else-where-1', tmp_path / f'{prefix}elsewhere-2'
    for folder in (dead, living, far, far_old):
        (folder / 'new/VOC2007/JPEGImages').mkdir(parents=True)
        (folder / 'new/VOC2007/JPEGImages/000001.jpg').write_bytes(b'half')
    for path in (*far_old.rglob('*'), far_old):
        os.utime(path, (1e9, 1e9))
    quiet(tmp_path / name, TINY)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {name, living.name, far.name}


def test_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    draw = generated_voc._draw

    def fail_at_third(task, **kwargs):
        if task[0] == '000003':
            raise OSError('no space left')
        return draw(task, **kwargs)

    monkeypatch.setattr(generated_voc, '_draw', fail_at_third)
    with pytest.raises(OSError, match='no space left'):
        quiet(tmp_path / 'VOCdevkit', TINY)
    assert list(tmp_path.iterdir()) == []


def test_failed_replacement_keeps_the_old_set(tmp_path, monkeypatch):
    dest = quiet(tmp_path / 'VOCdevkit', TINY)
    before = contents(dest)
    monkeypatch.setattr(generated_voc, '_draw', None)
    with pytest.raises(TypeError):
        quiet(dest, TINY, seed=1, force=True)
    assert contents(tmp_path) == {f'VOCdevkit/{path}': data for path, data in before.items()}


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'splits': {'trainval': 3}}, 'trainval'),
        ({'splits': {'train': -1, 'val': 2}}, 'none below 0'),
        ({'splits': {}}, 'at least one image'),
        ({'splits': TINY, 'seed': -1}, 'seed must be 0 or more, not -1'),
        ({'splits': TINY, 'image_size': (260, 200)}, r'not \(260, 200\)'),
        ({'splits': TINY, 'image_size': (32, 200)}, 'at least 64 px'),
        ({'splits': TINY, 'num_workers': -2}, 'num_workers must be 0 or more, not -2'),
    ],
)
def test_bad_arguments(tmp_path, kwargs, message):
    with pytest.raises(ValueError, match=message):
        quiet(tmp_path / 'VOCdevkit', **kwargs)
    assert list(tmp_path.iterdir()) == []


def test_tool(tmp_path, monkeypatch, capsys):
    dest = tmp_path / 'data/VOCdevkit'
    tool = Path(__file__).parents[2] / 'tools/generate_voc.py'
    arguments = f'--dest {dest} --seed 5 --train 3 --val 0 --test 1 --num-workers 0'
    monkeypatch.setattr(sys, 'argv', [str(tool), *arguments.split()])
    runpy.run_path(str(tool), run_name='__main__')
    assert str(dest) in capsys.readouterr().out
    assert contents(dest) == contents(quiet(tmp_path / 'same', TINY, seed=5))
    monkeypatch.setattr(sys, 'argv', [str(tool), *arguments.split(), '--seed', '6'])
    with pytest.raises(SystemExit, match='seed is 5 there and 6 here'):
        runpy.run_path(str(tool), run_name='__main__')
