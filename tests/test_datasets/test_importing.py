# SPDX-License-Identifier: Apache-2.0
"""Import of COCO, YOLO and VOC: round trips, books, odd images, odd files."""

import contextlib
import errno
import io
import json
import os
import time
import unicodedata
import xml.etree.ElementTree as ET
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limits import largest_file, no_more_open_files
from mmdet.datasets import CocoDataset, XMLDataset
from PIL import Image
from pycocotools.coco import COCO

from mmdet_mobilenext.datasets.checks import VOCSource, check_voc
from mmdet_mobilenext.datasets.importing import ImportDataError, import_dataset, run
from mmdet_mobilenext.datasets.importing.boxes import from_voc, to_voc, turn_upright
from mmdet_mobilenext.datasets.importing.class_names import read_class_names
from mmdet_mobilenext.datasets.importing.config_lines import config_lines
from mmdet_mobilenext.datasets.importing.out_folder import OutFolder
from mmdet_mobilenext.datasets.importing.pictures import LONGEST_SIDE, place_picture
from mmdet_mobilenext.datasets.importing.report import REASONS, ImportReport
from mmdet_mobilenext.datasets.importing.splits import draw_splits, parse_fractions

WIDTH, HEIGHT = 60, 40


def picture(path, size=(WIDTH, HEIGHT), mode='RGB', **options):
    """A picture with a bright rectangle at left 10, top 5, right 30, bottom 15."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((size[1], size[0], 3), 30, np.uint8)
    pixels[5:15, 10:30] = 220
    Image.fromarray(pixels).convert(mode, dither=Image.Dither.NONE).save(path, **options)
    return path


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def coco(images, annotations=(), categories=((1, 'cat'), (2, 'fire engine'))):
    """images: names or entries; annotations: (image_id, category_id, bbox) or entries."""
    images = [
        dict(id=k, file_name=i, width=WIDTH, height=HEIGHT) if isinstance(i, str) else i
        for k, i in enumerate(images, 1)
    ]
    annotations = [
        a if isinstance(a, dict) else dict(id=k, image_id=a[0], category_id=a[1], bbox=list(a[2]))
        for k, a in enumerate(annotations, 1)
    ]
    return dict(
        images=images,
        annotations=annotations,
        categories=[c if isinstance(c, dict) else dict(id=c[0], name=c[1]) for c in categories],
    )


class Source:
    """A folder with images and annotation files, and its import."""

    def __init__(self, root):
        self.root = root
        self.images = root / 'images'
        self.images.mkdir()
        self.number = 0

    def json(self, content, name='all.json'):
        (self.root / name).write_text(json.dumps(content), encoding='utf-8')
        return str(self.root / name)

    def run(self, *sources, source_format='coco', **options):
        self.number += 1
        out = self.root / f'out{self.number}'
        options.setdefault('progress', False)
        if source_format == 'coco':
            options.setdefault('images', [self.images])
        if not any('=' in str(s) for s in sources) and 'splits' not in options:
            if source_format == 'coco':
                options.setdefault('split_name', 'train')
        report = import_dataset(sources, out, source_format=source_format, **options)
        assert report.unaccounted() == (0, 0)
        return out, report

    def from_coco(self, content, **options):
        return self.run(self.json(content), **options)


@pytest.fixture
def source(tmp_path):
    return Source(tmp_path)


def voc_objects(out, img_id):
    root = ET.parse(out / 'Annotations' / f'{img_id}.xml').getroot()
    return [
        (
            o.findtext('name'),
            tuple(int(c.text) for c in o.find('bndbox')),
            o.findtext('difficult'),
        )
        for o in root.findall('object')
    ]


def reasons(report):
    """Reason to count, without what every import of these tests says."""
    ordinary = {'class_without_objects', 'image_without_boxes', 'label_missing'}
    return {k: len(v) for k, v in report.entries.items() if k not in ordinary}


def load_coco(path):
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def as_plain(path):
    """What must survive of a COCO json: file stem to size and boxes, and class names."""
    data = load_coco(path)
    names = {c['id']: c['name'] for c in data.loadCats(data.getCatIds())}
    found = {}
    for image in data.loadImgs(data.getImgIds()):
        boxes = [
            (names[a['category_id']], a['iscrowd'], a['bbox'])
            for a in data.loadAnns(data.getAnnIds([image['id']], iscrowd=None))
        ]
        found[Path(image['file_name']).stem] = (image['width'], image['height'], boxes)
    return found, list(names.values())


class TestVOCPixels:
    def test_numbers(self):
        assert to_voc((0, 0, 60, 40), (60, 40)) == ((1, 1, 60, 40), False)
        assert to_voc((10, 5, 30, 15), (60, 40)) == ((11, 6, 30, 15), False)
        assert from_voc((11, 6, 30, 15)) == (10, 5, 30, 15)

    @given(
        size=st.tuples(st.integers(2, 5000), st.integers(2, 5000)),
        where=st.tuples(*[st.floats(0, 1)] * 4),
    )
    def test_bounds(self, size, where):
        x1, x2 = sorted((where[0] * size[0], where[2] * size[0]))
        y1, y2 = sorted((where[1] * size[1], where[3] * size[1]))
        corners, widened = to_voc((x1, y1, x2, y2), size)
        xmin, ymin, xmax, ymax = corners
        assert 1 <= xmin < xmax <= size[0] and 1 <= ymin < ymax <= size[1]
        errors = [abs(a - b) for a, b in zip((x1, y1, x2, y2), from_voc(corners), strict=True)]
        assert max(errors) <= (2 if widened else 0.5) + 1e-9
        assert not widened or min(x2 - x1, y2 - y1) < 2

    @given(st.tuples(*[st.integers(1, 50)] * 4))
    def test_whole_boxes_of_two_pixels_or_more_are_exact(self, numbers):
        x, y, w, h = numbers
        corners = (x, y, x + w, y + h)
        assert to_voc(from_voc(corners), (100, 100)) == (corners, False)

    @pytest.mark.parametrize('orientation', range(1, 9))
    def test_boxes_turn_as_pillow_turns_pixels(self, tmp_path, orientation):
        path = picture(tmp_path / 'a.jpg', exif=exif(orientation), quality=100)
        upright = cv2.imread(str(path))
        found = np.argwhere(upright[..., 0] > 128)
        (y1, x1), (y2, x2) = found.min(0), found.max(0) + 1
        assert turn_upright((10, 5, 30, 15), (WIDTH, HEIGHT), orientation) == (x1, y1, x2, y2)


names = st.text(
    st.characters(whitelist_categories=('Lu', 'Ll', 'Lo', 'Nd'), whitelist_characters=' -_'),
    min_size=1,
    max_size=12,
).filter(lambda name: name == unicodedata.normalize('NFC', ' '.join(name.split())))


@st.composite
def coco_sets(draw):
    """Two splits of images of odd names, with boxes of at least 2 px inside of them."""
    # 'a 1' is a line of VOC's lists of a class: such an id has to be renamed
    stems = names.filter(lambda s: s.split()[-1] not in ('0', '1', '-1') and len(s) < 12)
    stems = draw(st.lists(stems, min_size=2, max_size=4, unique_by=str.casefold))
    classes = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    ids = draw(st.lists(st.integers(0, 99), min_size=3, max_size=3, unique=True))
    categories = list(zip(sorted(ids), classes, strict=False))
    splits = {}
    for split, members in (('train', stems[:1]), ('val', stems[1:])):
        images, annotations = [], []
        for k, stem in enumerate(members):
            width, height = draw(st.integers(2, 70)), draw(st.integers(2, 70))
            name = stem + draw(st.sampled_from(['.jpg', '.png']))
            images.append(dict(id=10 * k, file_name=name, width=width, height=height))
            for _ in range(draw(st.integers(0, 3))):
                w, h = draw(st.floats(2, width)), draw(st.floats(2, height))
                x, y = draw(st.floats(0, width - w)), draw(st.floats(0, height - h))
                category = draw(st.sampled_from(categories))[0]
                box = dict(image_id=10 * k, category_id=category, bbox=[x, y, w, h])
                annotations.append(
                    dict(box, id=len(annotations), area=w * h, iscrowd=draw(st.integers(0, 1)))
                )
        splits[split] = coco(images, annotations, categories)
    return splits


class TestRoundTrip:
    @settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(sets=coco_sets())
    def test_coco_to_voc_to_coco(self, tmp_path_factory, sets):
        source = Source(tmp_path_factory.mktemp('trip'))
        files = []
        for split, content in sets.items():
            for image in content['images']:
                size = (image['width'], image['height'])
                Image.new('RGB', size).save(source.images / image['file_name'])
            files.append(f'{split}={source.json(content, f"{split}.json")}')
        voc, report = source.run(*files)
        assert not reasons(report).keys() - {
            'crowd_to_difficult', 'category_ids', 'image_converted', 'image_turned',
        }  # fmt: skip
        back, _ = source.run(voc, source_format='voc', target_format='coco')
        used = {a['category_id'] for c in sets.values() for a in c['annotations']}
        wanted = {c['name'] for c in sets['train']['categories'] if c['id'] in used}
        for split in sets:
            before, _ = as_plain(source.root / f'{split}.json')
            after, classes = as_plain(back / 'annotations' / f'instances_{split}.json')
            assert set(classes) == wanted
            assert before.keys() == after.keys()
            for stem, (width, height, boxes) in before.items():
                assert after[stem][:2] == (width, height)
                assert [b[:2] for b in after[stem][2]] == [b[:2] for b in boxes]
                for (*_, old), (*_, new) in zip(boxes, after[stem][2], strict=True):
                    old, new = (
                        np.array([b[0], b[1], b[0] + b[2], b[1] + b[3]]) for b in (old, new)
                    )
                    assert np.abs(old - new).max() <= 0.5 + 1e-9

    def test_mmdet_reads_the_same_from_both(self, source):
        picture(source.images / 'a b.jpg')
        content = coco(['a b.jpg'], [(1, 1, (10, 5, 20, 10)), (1, 2, (0, 0, 60, 40))])
        content['annotations'][1]['iscrowd'] = 1
        voc, _ = source.from_coco(content)
        metainfo = dict(classes=('cat', 'fire engine'))
        xml = XMLDataset(
            data_root=str(voc),
            ann_file='ImageSets/Main/train.txt',
            data_prefix=dict(sub_data_root=''),
            metainfo=metainfo,
        )[0]
        assert [i['bbox'] for i in xml['instances']] == [[10, 5, 29, 14], [0, 0, 59, 39]]
        assert [i['ignore_flag'] for i in xml['instances']] == [0, 1]
        assert [i['bbox_label'] for i in xml['instances']] == [0, 1]
        back, _ = source.run(voc, source_format='voc', target_format='coco')
        with contextlib.redirect_stdout(io.StringIO()):
            dataset = CocoDataset(
                data_root=str(back),
                ann_file='annotations/instances_train.json',
                data_prefix=dict(img='images/'),
                metainfo=metainfo,
            )
        assert [i['bbox'] for i in dataset[0]['instances']] == [[10, 5, 30, 15], [0, 0, 60, 40]]
        assert [i['ignore_flag'] for i in dataset[0]['instances']] == [0, 1]
        assert Path(dataset[0]['img_path']).is_file()

    def test_result_passes_the_check(self, source):
        for name in ('Käfer 1.jpg', 'a.jpg.png', 'x/ä.png', 'y/ä.png'):
            picture(source.images / name)
        stems = ['Käfer 1.jpg', 'a.jpg.png', 'x/ä.png', 'y/ä.png']
        out, report = source.from_coco(coco(stems, [(k, 2, (0, 0, 60, 40)) for k in (1, 2, 3, 4)]))
        split = out / 'ImageSets/Main/train.txt'
        ids = split.read_text(encoding='utf-8').splitlines()
        assert ids == ['Käfer_1', 'a_jpg', 'x_ä', 'y_ä']
        assert reasons(report)['image_renamed'] == 4
        classes = tuple(read_class_names(str(out / 'classes.txt')))
        check = check_voc(VOCSource(str(out), str(split), str(out), classes=classes), decode='full')
        assert check.ok and not check.warnings, str(check)

    def test_yolo_there_and_back(self, source):
        picture(source.images / 'ä b.png')
        picture(source.images / 'c.jpg')
        boxes = [(1, 2, (10, 5, 20, 10)), (1, 1, (0.25, 0, 59.5, 40)), (2, 2, (7, 7, 9, 9))]
        content = coco(['ä b.png', 'c.jpg'], boxes)
        content['annotations'][2]['iscrowd'] = 1
        yolo, report = source.run(f'train={source.json(content)}', target_format='yolo')
        assert reasons(report) == {'difficult_left_out': 1}
        assert (yolo / 'images/ä b.png').read_bytes() == (source.images / 'ä b.png').read_bytes()
        line = (yolo / 'labels/ä b.txt').read_text().split('\n')[0].split()
        assert line[0] == '1' and np.allclose(
            list(map(float, line[1:])), [1 / 3, 0.25, 1 / 3, 0.25]
        )
        back, report = source.run(yolo / 'data.yaml', source_format='yolo', target_format='coco')
        found, classes = as_plain(back / 'annotations/instances_train.json')
        assert classes == ['cat', 'fire engine'] and report.written == [2, 2]
        for (*_, old), (*_, new) in zip(boxes[:2], found['ä b'][2], strict=True):
            assert np.allclose(old, new)


class TestCocoFiles:
    def test_everything_wrong_with_boxes_is_named(self, source):
        picture(source.images / 'a.jpg')
        bad = [
            (1, 1, (50, 30, 20, 20)),  # reaches beyond the corner
            (1, 1, (10, 10, 0, 5)),
            (1, 1, (10, 10, -3, 5)),
            (1, 1, (70, 10, 5, 5)),
            (1, 9, (1, 1, 5, 5)),
            (8, 1, (1, 1, 5, 5)),
            (1, 1, (float('nan'), 1, 5, 5)),
            (1, 1, (1, 1, 5)),
            (1, 1, (1, 1, 5, 5)),
            (1, 1, (20.2, 20.2, 0.5, 9)),
        ]
        content = coco(['a.jpg'], bad)
        content['annotations'] += [content['annotations'][8], dict(id=77), 'nonsense']
        content['annotations'].append(
            dict(id=1, image_id=1, category_id=2, bbox=[0, 0, 9, 9], segmentation=[[1, 2]])
        )
        out, report = source.from_coco(content)
        assert reasons(report) == {
            'box_clipped': 1,
            'box_no_area': 2,
            'box_outside': 1,
            'box_unknown_class': 1,
            'box_no_image': 2,
            'box_entry_bad': 3,
            'annotation_repeated': 1,
            'annotation_id_repeated': 1,
            'field_not_carried': 1,
            'box_widened': 1,
        }
        assert voc_objects(out, 'a') == [
            ('cat', (51, 31, 60, 40), '0'),
            ('cat', (2, 2, 6, 6), '0'),
            ('cat', (20, 21, 21, 29), '0'),
            ('fire engine', (1, 1, 9, 9), '0'),
        ]
        assert report.read == [1, 14] and report.written == [1, 4]
        assert 'a.jpg, box 1 (cat): left 50' in report.entries['box_clipped'][0]
        assert 'image_id 8' in report.entries['box_no_image'][0]
        written = json.loads((out / 'import_report.json').read_text(encoding='utf-8'))
        assert written['reasons']['box_no_area']['count'] == 2
        assert written['reasons']['box_no_area']['boxes_lost'] == 2
        assert written['written'] == dict(images=1, boxes=4)

    def test_everything_wrong_with_images_is_named(self, source):
        picture(source.images / 'good.jpg')
        picture(source.images / 'other.jpg')
        (source.images / 'text.jpg').write_text('no image')
        half = picture(source.images / 'cut.jpg').read_bytes()
        (source.images / 'cut.jpg').write_bytes(half[: len(half) // 2])
        picture(source.images / 'small.jpg', size=(1, 30))
        (source.root / 'secret.jpg').write_bytes(half)
        outside = ['../secret.jpg', str(source.root / 'secret.jpg'), 'C:\\a.jpg', '..\\secret.jpg']
        listed = [
            'good.jpg',
            'text.jpg',
            'cut.jpg',
            'gone.jpg',
            'small.jpg',
            *outside,
            '',
            'good.jpg',
        ]
        content = coco(listed, [(k, 1, (0, 0, 20, 20)) for k in range(1, len(listed) + 1)])
        for image in content['images']:
            if image['file_name'] == 'small.jpg':
                image.update(width=1, height=30)
        content['images'] += [
            dict(id=50, file_name='other.jpg', width=WIDTH + 1, height=HEIGHT),
            dict(id=60, file_name='good.jpg', width=WIDTH, height=HEIGHT),
            dict(id=60, file_name='other.jpg', width=WIDTH, height=HEIGHT),
            dict(file_name='other.jpg'),
        ]
        out, report = source.from_coco(content)
        assert reasons(report) == {
            'image_unreadable': 2,
            'image_missing': 1,
            'image_too_small': 1,
            'image_name_unsafe': 5,
            'image_listed_again': 1,
            'image_size_differs': 1,
            'image_id_repeated': 2,
            'image_entry_bad': 1,
        }
        assert [p.name for p in (out / 'JPEGImages').iterdir()] == ['good.jpg']
        assert 'cut.jpg' in ' '.join(report.entries['image_missing'])  # what there is
        assert report.read == [15, 11] and report.written == [1, 1]

    def test_classes(self, source):
        picture(source.images / 'a.jpg')
        categories = [(90, ' big  cat'), (7, 'dog'), (8, 'dog'), (3, 'Zebra ü')]
        boxes = [(1, k, (k / 10, 0, 20, 20)) for k in (90, 7, 8, 3)]
        content = coco(['a.jpg'], boxes, categories)
        out, report = source.from_coco(content)
        assert report.facts['classes'] == ['Zebra ü', 'dog', 'big cat']
        assert {'class_renamed', 'class_merged', 'category_ids'} <= set(report.entries)
        out, report = source.from_coco(content, classes=('dog',))
        assert [o[0] for o in voc_objects(out, 'a')] == ['dog', 'dog']
        assert report.count('class_not_chosen') == 2
        with pytest.raises(ImportDataError, match='category id 7 twice'):
            source.from_coco(coco(['a.jpg'], [], [(7, 'dog'), (7, 'cat')]))

    def test_splits_in_folders_of_their_own(self, source):
        one = picture(source.root / 'train2017' / '1.jpg')
        picture(source.root / 'val2017' / '1.jpg')
        files = [f'{s}={source.json(coco(["1.jpg"]), f"{s}.json")}' for s in ('train', 'val')]
        folders = [f'{s}={source.root}/{s}2017' for s in ('train', 'val')]
        out, report = source.run(*files, images=folders)
        lists = {s: (out / f'ImageSets/Main/{s}.txt').read_text() for s in ('train', 'val')}
        assert lists == {'train': 'train2017_1\n', 'val': 'val2017_1\n'}
        assert (out / 'JPEGImages/train2017_1.jpg').read_bytes() == one.read_bytes()
        assert report.count('image_renamed') == 2
        with pytest.raises(ImportDataError, match='splits'):
            source.run(*files, images=folders, splits=dict(train=1.0))
        with pytest.raises(ImportDataError, match='--images val=DIR'):
            source.run(*files, images=folders[:1])

    def test_the_same_file_in_two_splits(self, source):
        for name in ('a.jpg', 'b.jpg'):
            picture(source.images / name)
        train = coco(['a.jpg', 'b.jpg'], [(1, 1, (0, 0, 9, 9))])
        val = coco(['a.jpg', 'b.jpg'], [(1, 1, (0, 0, 9, 9)), (2, 1, (0, 0, 9, 9))])
        files = [f'train={source.json(train, "t.json")}', f'val={source.json(val, "v.json")}']
        out, report = source.run(*files)
        assert reasons(report) == {'image_listed_again': 1, 'image_annotated_twice': 1}
        assert (out / 'ImageSets/Main/val.txt').read_text() == 'a\nb\n'
        assert report.read == [4, 3] and report.written == [2, 1]

    def test_names_in_another_spelling(self, source):
        picture(source.images / 'x' / unicodedata.normalize('NFD', 'Käfer.jpg'))
        out, report = source.from_coco(coco(['x\\' + unicodedata.normalize('NFC', 'Käfer.jpg')]))
        assert (out / 'JPEGImages' / unicodedata.normalize('NFC', 'Käfer.jpg')).is_file()
        assert report.count('image_found_by_name') == 1

    def test_crowds_become_difficult(self, source):
        picture(source.images / 'a.jpg')
        content = coco(['a.jpg'], [(1, 1, (k, 0, 9, 9)) for k in range(3)])
        content['annotations'][0]['iscrowd'] = content['annotations'][1]['ignore'] = 1
        content['annotations'][2].update(iscrowd='0', ignore=0)
        out, report = source.from_coco(content)
        assert [o[2] for o in voc_objects(out, 'a')] == ['1', '1', '0']
        assert reasons(report) == {'crowd_to_difficult': 2}

    def test_names_that_are_too_long_for_a_file(self, source):
        for name in ('a.jpg', f'{"x" * 150}/1.jpg', f'{"x" * 150}/{"ü" * 120}.jpg'):
            picture(source.images / name)
        picture(source.images / f'y/{"ü" * 120}.jpg')
        listed = ['a.jpg', 'x' * 300 + '.jpg']
        listed += [p.relative_to(source.images).as_posix() for p in source.images.rglob('ü*.jpg')]
        out, report = source.from_coco(coco(listed, [(2, 1, (0, 0, 9, 9)), (1, 1, (0, 0, 9, 9))]))
        assert report.entries['image_missing'][0].startswith('xxx')
        ids = (out / 'ImageSets/Main/train.txt').read_text(encoding='utf-8').split()
        assert len(set(ids)) == 3  # the folder's name does not fit in beside that of the file
        assert all((out / f'Annotations/{i}.xml').is_file() for i in ids)

    def test_a_split_without_any_image_is_told(self, source):
        picture(source.images / 'a.jpg')
        files = [
            f'{split}={source.json(coco([name], [(1, 1, (0, 0, 9, 9))]), f"{split}.json")}'
            for split, name in (('train', 'a.jpg'), ('val', 'gone.jpg'))
        ]
        out, report = source.run(*files)
        assert report.entries['split_empty'] == ['val']
        assert report.facts['splits'] == dict(train=1, val=0)
        assert (out / 'ImageSets/Main/val.txt').read_text() == ''
        lines = report.facts['config']
        assert 'No image is left of val' in lines and 'add one to the source' in lines
        assert '--split' not in lines  # it is for sources without splits

    @pytest.mark.parametrize('text', ['{', '[]', '{"images": []}', 'null', '[' * 5000])
    def test_no_coco_json(self, source, text):
        (source.root / 'a.json').write_text(text)
        with pytest.raises(ImportDataError, match=r'a\.json'):
            source.run(source.root / 'a.json')


class TestImages:
    def one(self, source, name, size=(WIDTH, HEIGHT), **options):
        """Import one image with one box around its bright rectangle; its pixels as mmdet's."""
        entry = dict(id=1, file_name=name)
        if size is not None:
            entry.update(width=size[0], height=size[1])
        box = options.pop('box', (10, 5, 20, 10))
        out, report = source.from_coco(coco([entry], [(1, 1, box)]), **options)
        path = out / 'JPEGImages' / f'{Path(name).stem}.jpg'
        pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
        return path, pixels, voc_objects(out, Path(name).stem)[0][1], report

    def assert_box_is_bright(self, pixels, corners):
        xmin, ymin, xmax, ymax = corners
        bright = pixels.min(2) > 128
        assert bright[ymin - 1 : ymax, xmin - 1 : xmax].all()
        assert bright.sum() == (xmax - xmin + 1) * (ymax - ymin + 1)

    @pytest.mark.parametrize('mode', ['RGB', 'L'])
    def test_plain_jpeg_is_copied_or_linked(self, source, mode):
        original = picture(source.images / 'ö a.jpg', mode=mode)
        path, pixels, corners, report = self.one(source, 'ö a.jpg')
        assert path.read_bytes() == original.read_bytes() and not path.is_symlink()
        assert reasons(report) == {}
        self.assert_box_is_bright(pixels, corners)
        path, *_, report = self.one(source, 'ö a.jpg', link=True)
        assert os.path.samefile(path, original) and report.count('image_linked') == 1

    def test_a_link_in_the_source_is_followed(self, source):
        original = picture(source.root / 'elsewhere.jpg')
        (source.images / 'a.jpg').symlink_to(original)
        path, *_ = self.one(source, 'a.jpg', link=True)
        (source.images / 'a.jpg').unlink()
        assert not path.is_symlink() and os.path.samefile(path, original)

    def test_jpeg_of_a_camera_with_previews_is_a_jpeg(self, source):
        frames = [Image.new('RGB', (WIDTH, HEIGHT), c) for c in ('red', 'blue')]
        frames[0].save(source.images / 'a.jpg', 'MPO', save_all=True, append_images=frames[1:])
        path, *_, report = self.one(source, 'a.jpg')
        assert path.read_bytes() == (source.images / 'a.jpg').read_bytes()
        assert reasons(report) == {}

    def test_link_to_another_file_system_is_symbolic(self, source, monkeypatch):
        original = picture(source.images / 'a.jpg')
        monkeypatch.setattr(os, 'link', lambda *_: (_ for _ in ()).throw(OSError('no')))
        path, *_ = self.one(source, 'a.jpg', link=True)
        assert path.is_symlink() and os.path.samefile(path, original)

    @pytest.mark.parametrize(
        ('name', 'mode', 'said'),
        [
            ('a.jpg', 'CMYK', 'CMYK'),
            ('a.png', 'RGB', 'PNG'),
            ('a.png', 'RGBA', 'transparency'),
            ('a.png', 'LA', 'transparency'),
            ('a.png', 'P', 'palette'),
            ('a.png', '1', 'black and white'),
            ('a.gif', 'P', 'palette'),
            ('a.tif', 'RGB', 'TIFF'),
            ('a.bmp', 'RGB', 'BMP'),
            ('a.webp', 'RGB', 'WEBP'),
        ],
    )
    def test_other_kinds_are_encoded_anew(self, source, name, mode, said):
        picture(source.images / name, mode=mode)
        path, pixels, corners, report = self.one(source, name)
        assert list(reasons(report)) == ['image_converted']
        assert said in report.entries['image_converted'][0]
        with Image.open(path) as image:
            assert image.format == 'JPEG' and image.mode in ('RGB', 'L')
        self.assert_box_is_bright(pixels, corners)

    @pytest.mark.parametrize('shape', [(HEIGHT, WIDTH), (HEIGHT, WIDTH, 3)])
    @pytest.mark.parametrize('suffix', ['.png', '.tif'])
    def test_16_bits(self, source, shape, suffix):
        pixels = np.full(shape, 30 << 8, np.uint16)
        pixels[5:15, 10:30] = (220 << 8) + 77
        cv2.imwrite(str(source.images / f'a{suffix}'), pixels)
        _, read, corners, report = self.one(source, f'a{suffix}', lossless=True)
        assert '16 bits' in report.entries['image_converted'][0]
        self.assert_box_is_bright(read, corners)
        assert set(np.unique(read)) == {30, 220}

    def test_lossless_is_png_data_that_mmdet_reads(self, source):
        original = picture(source.images / 'a.png')
        path, *_, report = self.one(source, 'a.png', lossless=True)
        assert path.suffix == '.jpg' and path.read_bytes() == original.read_bytes()
        assert reasons(report) == {}

    @pytest.mark.parametrize('orientation', range(2, 9))
    @pytest.mark.parametrize('suffix', ['.jpg', '.png', '.tif'])
    def test_turned_by_exif(self, source, orientation, suffix):
        picture(source.images / f'a{suffix}', exif=exif(orientation))
        size = (WIDTH, HEIGHT)
        upright = turn_upright((10, 5, 30, 15), size, orientation)
        upright_box = (*upright[:2], upright[2] - upright[0], upright[3] - upright[1])
        upright_size = size[::-1] if orientation >= 5 else size
        clear = orientation >= 5
        for box, annotated, told in (
            ((10, 5, 20, 10), size, 'stored'),
            (upright_box, upright_size, 'upright'),
        ):
            how = {} if clear else dict(exif=told)
            path, pixels, corners, report = self.one(
                source, f'a{suffix}', annotated, box=box, **how
            )
            assert report.count('image_turned') == 1
            self.assert_box_is_bright(pixels, corners)
            assert Image.open(path).getexif().get(0x0112) is None
            if not clear:
                with pytest.raises(ImportDataError, match='image_turn_unclear'):
                    self.one(source, f'a{suffix}', annotated, box=box)

    def test_no_annotated_size(self, source):
        picture(source.images / 'a.jpg')
        picture(source.images / 'b.jpg', exif=exif(6))
        *_, report = self.one(source, 'a.jpg', None)
        assert reasons(report) == {'size_from_file': 1}
        with pytest.raises(ImportDataError, match=r'b\.jpg: EXIF orientation 6, no annotated'):
            self.one(source, 'b.jpg', None)

    @pytest.mark.parametrize('suffix', ['gif', 'png', 'tif', 'webp'])
    def test_several_frames_are_refused_by_name(self, source, suffix):
        frames = [Image.new('RGB', (WIDTH, HEIGHT), c) for c in ('red', 'blue')]
        frames[0].save(source.images / f'a.{suffix}', save_all=True, append_images=frames[1:])
        with pytest.raises(ImportDataError, match=rf'image_many_frames(.|\n)*a\.{suffix}: .*2 fr'):
            self.one(source, f'a.{suffix}')

    def test_more_pixels_than_jpeg_holds(self, source):
        size = (LONGEST_SIDE + 1, 16)
        picture(source.images / 'a.png', size)
        with pytest.raises(ImportDataError, match=r'image_too_large(.|\n)*a\.png: 65501 x 16'):
            self.one(source, 'a.png', size)
        path, *_ = self.one(source, 'a.png', size, lossless=True)
        assert path.read_bytes() == (source.images / 'a.png').read_bytes()

    def test_32_bits_are_refused_by_name(self, source):
        picture(source.images / 'a.tif', mode='F')
        with pytest.raises(ImportDataError, match=r'image_no_8bit(.|\n)*a\.tif'):
            self.one(source, 'a.tif')


class TestYolo:
    def layout(self, source, lines, **content):
        picture(source.root / 'images/train/a.jpg')
        picture(source.root / 'images/val/b.jpg')
        label = source.root / 'labels/train/a.txt'
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text('\n'.join(lines))
        content = (
            dict(train='images/train', val='images/val', names=['cat', 'fire engine']) | content
        )
        (source.root / 'data.yaml').write_text(yaml.safe_dump(content))
        return source.root / 'data.yaml'

    def test_every_line_is_accounted_for(self, source):
        lines = [
            '1 0.5 0.5 0.5 0.5',
            '0 0.1 0.1 0.1',
            '0 0.5 0.5 0.5 0.5 0.9',
            '0 0.25 0.25 0.75 0.25 0.75 0.75',
            '2 0.5 0.5 0.5 0.5',
            '0.5 0.5 0.5 0.5 0.5',
            '0 0.5 0.5 1.5 0.5',
            '0 -0.5 0.5 0.5 0.5',
            '0 nan 0.5 0.5 0.5',
            'cat 0.5 0.5 0.5 0.5',
            '0 0.9 0.5 0.4 0.5',
            '0 0.5 0.5 0 0.5',
            '',
        ]
        yml = self.layout(source, lines)
        (source.root / 'labels/train/gone.txt').write_text(lines[0])
        out, report = source.run(yml, source_format='yolo')
        assert reasons(report) == {
            'yolo_fields': 2,
            'polygon_to_box': 1,
            'box_unknown_class': 2,
            'yolo_range': 2,
            'box_entry_bad': 2,
            'box_clipped': 1,
            'box_no_area': 1,
            'labels_no_image': 1,
        }
        assert 'a.jpg, line 2' in report.entries['yolo_fields'][0]
        assert voc_objects(out, 'a') == [
            ('fire engine', (16, 11, 45, 30), '0'),
            ('cat', (16, 11, 45, 30), '0'),
            ('cat', (43, 11, 60, 30), '0'),
        ]
        assert report.entries['image_without_boxes'] == ['images/val/b.jpg']
        assert report.facts['splits'] == dict(train=1, val=1)

    def test_turned_image_needs_to_be_told(self, source):
        yml = self.layout(source, ['0 0.25 0.25 0.5 0.5'])
        picture(source.root / 'images/train/a.jpg', exif=exif(6))
        with pytest.raises(ImportDataError, match='image_turn_unclear, 1'):  # the only object
            source.run(yml, source_format='yolo')
        out, _ = source.run(yml, source_format='yolo', exif='stored')
        assert voc_objects(out, 'a')[0][1] == (21, 1, 40, 30)  # the right upper quarter
        out, _ = source.run(yml, source_format='yolo', exif='upright')
        assert voc_objects(out, 'a')[0][1] == (1, 1, 20, 30)

    def test_lists_of_files(self, source):
        yml = self.layout(source, [], train='lists/train.txt', names={0: 'cat', 5: 'dog'})
        (source.root / 'lists').mkdir()
        lines = ['images/train/a.jpg', './../x.jpg', '/etc/a.jpg', 'gone.jpg', 'images/train/a.jpg']
        (source.root / 'lists/train.txt').write_text('\n'.join(lines))
        _, report = source.run(yml, source_format='yolo')
        assert reasons(report) == {
            'category_ids': 1,
            'image_name_unsafe': 2,
            'image_missing': 1,
            'image_listed_again': 1,
        }

    @pytest.mark.parametrize(
        'content',
        [dict(path='/data'), dict(path='../x'), dict(train='/data/train'), dict(val='../../val')],
    )
    def test_paths_out_of_the_folder_are_refused(self, source, content):
        with pytest.raises(ImportDataError, match=str(next(iter(content.values())))):
            source.run(self.layout(source, [], **content), source_format='yolo')

    def test_export_of_roboflow(self, source):
        yml = self.layout(source, [], train='../images/train')
        _, report = source.run(yml, source_format='yolo')
        assert reasons(report) == {'path_read_as': 1}

    def test_yaml_runs_nothing(self, source):
        (source.root / 'data.yaml').write_text('names: !!python/object/apply:os.getcwd []')
        with pytest.raises(ImportDataError, match='YAML'):
            source.run(source.root / 'data.yaml', source_format='yolo')

    @pytest.mark.parametrize(
        ('text', 'message'),
        [
            ('names: [2020-13-45]', 'not YAML: month must be'),
            ('[' * 1000, 'not YAML'),
            ('{nc: 5, names: [a]}', r'itself: `nc: 5`, but 1 `names`'),
            ('names: {.inf: a}', 'must be whole numbers'),
            ('names: {1.5: a}', 'must be whole numbers'),
            ('names: {0: a, "0": b}', 'must be there once'),
        ],
    )
    def test_yaml_that_cannot_be_meant(self, source, text, message):
        (source.root / 'data.yaml').write_text(text)
        with pytest.raises(ImportDataError, match=rf'data\.yaml.* {message}'):
            source.run(source.root / 'data.yaml', source_format='yolo')

    def test_a_class_that_the_yaml_does_not_name(self, source):
        yml = self.layout(source, ['0 0.5 0.5 0.5 0.5'])
        with pytest.raises(ImportDataError, match=r"no classes \['unicorn'\]; it has \['cat'"):
            source.run(yml, source_format='yolo', classes=('cat', 'unicorn'))

    def test_number_of_classes_that_is_right(self, source):
        yml = self.layout(source, ['0 0.5 0.5 0.5 0.5'], nc=2)
        assert source.run(yml, source_format='yolo')[1].written == [2, 1]

    def test_lists_without_images(self, source):
        yml = self.layout(source, ['0 0.5 0.5 0.5 0.5'], val='val.txt')
        (source.root / 'val.txt').write_text('gone.jpg\n')
        _, report = source.run(yml, source_format='yolo')
        assert report.entries['split_empty'] == ['val'] and report.count('image_missing') == 1

    def test_folder_of_labels(self, source):
        self.layout(source, ['0 0.5 0.5 0.5 0.5'])
        (source.root / 'labels/classes.txt').write_text('cat')
        folders = dict(source_format='yolo', images=[source.root / 'images'])
        with pytest.raises(ImportDataError, match='--classes'):
            source.run(source.root / 'labels', **folders)
        _, report = source.run(
            source.root / 'labels', **folders, classes=('cat',), splits=dict(train=0.5, val=0.5)
        )
        assert reasons(report) == {} and report.written == [2, 1]


class TestVoc:
    def voc(self, source, objects, split='train'):
        root = source.root / 'VOC'
        picture(root / 'JPEGImages/a.jpg')
        for folder in ('Annotations', 'ImageSets/Main'):
            (root / folder).mkdir(parents=True, exist_ok=True)
        size = f'<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>'
        (root / 'Annotations/a.xml').write_text(f'<annotation>{size}{objects}</annotation>')
        (root / f'ImageSets/Main/{split}.txt').write_text('a\n')
        return root

    def obj(self, box, name='dog', extra=''):
        tags = zip(('xmin', 'ymin', 'xmax', 'ymax'), box, strict=True)
        inner = ''.join(f'<{t}>{v}</{t}>' for t, v in tags)
        return f'<object><name>{name}</name>{extra}<bndbox>{inner}</bndbox></object>'

    def test_objects(self, source):
        objects = (
            self.obj((1, 1, 60, 40))
            + self.obj((5.7, 5, 9, 9), 'cat', '<difficult>1</difficult><truncated>1</truncated>')
            + self.obj((0, 5, 9, 9), extra='<part><name>head</name></part>')
            + self.obj((9, 5, 3, 9))
            + self.obj(('x', 5, 9, 9))
        )
        root = self.voc(source, objects)
        (root / 'ImageSets/Main/dog_train.txt').write_text('a 1\n')
        out, report = source.run(root, source_format='voc', target_format='coco')
        assert reasons(report) == {
            'box_cut_to_pixels': 1,
            'box_clipped': 1,
            'box_no_area': 1,
            'box_entry_bad': 1,
            'list_not_read': 1,
            'field_not_carried': 2,  # part, truncated
            'difficult_to_crowd': 1,
        }
        found, classes = as_plain(out / 'annotations/instances_train.json')
        assert classes == ['cat', 'dog']
        assert found['a'][2] == [
            ('dog', 0, [0, 0, 60, 40]),
            ('cat', 1, [4, 4, 5, 5]),
            ('dog', 0, [0, 4, 9, 5]),
        ]
        _, report = source.run(root, source_format='voc', target_format='yolo')
        assert report.count('difficult_left_out') == 1 and report.written == [1, 2]

    def test_doctype_and_broken_xml_are_refused_by_name(self, source):
        root = self.voc(source, '')
        (root / 'ImageSets/Main/train.txt').write_text('a\nb\nc\n../a\n')
        entity = (
            '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>'
        )
        (root / 'Annotations/b.xml').write_text(entity)
        _, report = source.run(root, source_format='voc')
        assert reasons(report) == {'labels_unreadable': 2, 'image_name_unsafe': 1}
        assert 'DOCTYPE' in report.entries['labels_unreadable'][0]
        assert report.read == [4, 0]

    def test_a_list_of_ids_without_images(self, source):
        root = self.voc(source, self.obj((1, 1, 9, 9)))
        (root / 'ImageSets/Main/val.txt').write_text(f'gone\n{"x" * 300}\n')
        _, report = source.run(root, source_format='voc')
        assert report.entries['split_empty'] == ['val'] and report.count('labels_unreadable') == 2

    def test_splits_that_overlap(self, source):
        root = self.voc(source, self.obj((1, 1, 9, 9)))
        self.voc(source, self.obj((1, 1, 9, 9)), 'trainval')
        out, report = source.run(root, source_format='voc', classes=('dog',))
        assert report.facts['splits'] == dict(train=1, trainval=1) and report.written == [1, 1]
        assert voc_objects(out, 'a') == [('dog', (1, 1, 9, 9), '0')]


class TestResult:
    def test_foreign_folders_stay(self, source):
        picture(source.images / 'a.jpg')
        options = dict(source_format='coco', images=[source.images], progress=False)
        options['split_name'] = 'train'
        sources, out = [source.json(coco(['a.jpg']))], source.root / 'out'
        out.mkdir()
        (out / 'mine').write_text('x')
        for force in (False, True):
            with pytest.raises(FileExistsError, match='may be your own'):
                import_dataset(sources, out, force=force, **options)
        (out / 'mine').unlink()
        import_dataset(sources, out, **options)
        with pytest.raises(FileExistsError, match='--force'):
            import_dataset(sources, out, **options)
        (out / 'extra').touch()
        with pytest.raises(FileExistsError, match=r'other things in it.*: extra\.'):
            import_dataset(sources, out, force=True, **options)
        (out / 'extra').unlink()
        import_dataset(sources, out, force=True, **options)
        assert (out / 'import_report.json').is_file()

    def test_a_failure_of_the_last_step_keeps_what_was_there(self, source, monkeypatch):
        picture(source.images / 'a.jpg')
        options = dict(source_format='coco', images=[source.images], progress=False)
        sources, out = [source.json(coco(['a.jpg']))], source.root / 'out'
        import_dataset(sources, out, split_name='train', **options)
        before = (out / 'import_report.json').read_bytes()
        rename = os.rename

        def full(old, new):
            if Path(new) == out and Path(old).name == 'new':
                raise OSError('no space')
            rename(old, new)

        monkeypatch.setattr(os, 'rename', full)
        with pytest.raises(OSError, match='no space'):
            import_dataset(sources, out, split_name='val', force=True, **options)
        assert (out / 'import_report.json').read_bytes() == before
        assert not list(source.root.glob('.out*'))

    @pytest.fixture
    def imported(self, source):
        """A result, and how to import to it anew."""
        picture(source.images / 'a.jpg')
        file = source.json(coco(['a.jpg'], [(1, 1, (0, 0, 9, 9))]))

        def again(link=False):
            options = dict(source_format='coco', images=[source.images], split_name='train')
            out = source.root / 'out'
            import_dataset([file], out, link=link, force=True, progress=False, **options)
            return out

        return again(), again

    def test_what_was_added_or_changed_inside_is_not_replaced(self, imported):
        out, again = imported
        again()
        xml, own = out / 'Annotations/a.xml', out / 'ImageSets/Main/mine.txt'
        before = xml.read_bytes()
        os.utime(xml, (1, 1))  # as a copy of the folder has it
        again()
        own.write_text('a\n')
        (out / 'JPEGImages/notes').mkdir()
        xml.write_bytes(before.replace(b'<xmax>9<', b'<xmax>8<'))
        message = r'Annotations/a\.xml \(changed\), ImageSets/Main/mine\.txt, JPEGImages/notes/\.'
        with pytest.raises(FileExistsError, match=message):
            again()
        assert own.read_text() == 'a\n' and b'<xmax>8<' in xml.read_bytes()
        own.unlink()
        (out / 'JPEGImages/notes').rmdir()
        with pytest.raises(FileExistsError, match=r'remove: Annotations/a\.xml \(changed\)\.'):
            again()
        xml.unlink()
        again()
        assert xml.read_bytes() == before

    def test_links_do_not_count_as_changed_with_their_source(self, source, imported):
        out, again = imported
        again(link=True)
        with open(source.images / 'a.jpg', 'ab') as file:
            file.write(b'more')
        again(link=True)
        assert os.path.samefile(out / 'JPEGImages/a.jpg', source.images / 'a.jpg')

    @pytest.mark.parametrize('text', [None, '{', '{"files": {"a": 1}}', '{"files": []}'])
    def test_without_the_record_nothing_is_replaced(self, imported, text):
        out, again = imported
        (out / 'import_files.json').unlink()
        if text is not None:
            (out / 'import_files.json').write_text(text)
        with pytest.raises(FileExistsError, match=r'cannot be told \(.*import_files\.json'):
            again()

    @pytest.mark.parametrize('name', ['a.jpg', 'a.png'])
    def test_a_failure_to_write_is_none_of_the_image(self, source, name):
        pixels = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
        Image.fromarray(pixels).save(source.images / name)
        content = coco([dict(id=1, file_name=name)], [(1, 1, (0, 0, 9, 9))])
        with pytest.raises(OSError, match=r'disk at /.*JPEGImages/a\.jpg') as caught:
            with largest_file(10_000):
                source.from_coco(content)
        assert caught.value.errno == errno.EFBIG
        assert sorted(p.name for p in source.root.iterdir()) == ['all.json', 'images']

    def test_a_file_that_is_not_whole_is_removed(self, source):
        out = OutFolder(source.root / 'out')
        with pytest.raises(OSError, match='cannot write 20000 bytes'), largest_file(10_000):
            out.write('sub/a', bytes(20_000))
        assert list((out.root / 'sub').iterdir()) == []

    def test_too_many_open_files_are_none_of_the_image(self, source):
        path, out = picture(source.images / 'a.jpg'), OutFolder(source.root / 'out')
        with pytest.raises(OSError, match=r'images/a\.jpg') as caught, no_more_open_files():
            place_picture(path, (WIDTH, HEIGHT), out, 'a')
        assert caught.value.errno == errno.EMFILE

    def test_text_that_is_not_utf8_is_named(self, source):
        picture(source.images / 'a.jpg')
        bad = source.root / 'names.txt'
        bad.write_bytes('Zaunkönig\n'.encode('latin-1'))
        message = r'{}.* is not UTF-8 \(byte 6 is 0xf6\): save it as UTF-8'
        with pytest.raises(ImportDataError, match=message.format('names.txt')):
            read_class_names(str(bad))
        with pytest.raises(ImportDataError, match=message.format('names.txt')):
            source.run(bad)
        with pytest.raises(ImportDataError, match=message.format('names.txt')):
            source.run(bad, source_format='yolo')
        (source.root / 'data.yaml').write_text('{names: [a], train: names.txt}')
        with pytest.raises(ImportDataError, match=message.format('names.txt')):
            source.run(source.root / 'data.yaml', source_format='yolo')
        main = source.root / 'VOC/ImageSets/Main'
        main.mkdir(parents=True)
        (source.root / 'VOC/Annotations').mkdir()
        bad.rename(main / 'val.txt')
        with pytest.raises(ImportDataError, match=message.format('val.txt')):
            source.run(source.root / 'VOC', source_format='voc')

    def test_results_and_links_in_circles_are_no_sources(self, source):
        picture(source.images / 'a.jpg')
        labels = source.root / 'labels'
        labels.mkdir()
        (labels / 'a.txt').write_text('0 0.5 0.5 0.4 0.4\n')
        (source.images / 'round').symlink_to(source.images)
        options = dict(
            source_format='yolo', images=[source.images], classes=('cat',), split_name='train',
            progress=False,
        )  # fmt: skip
        out = source.images / 'voc'
        for force in (False, True):
            report = import_dataset([labels], out, force=force, **options)
            assert report.read == report.written == [1, 1]

    def test_nothing_to_train_on_is_an_error(self, source):
        picture(source.images / 'a.jpg')
        with pytest.raises(ImportDataError, match=r'no object is left(.|\n)*box_no_area'):
            source.from_coco(coco(['a.jpg'], [(1, 1, (5, 5, 0, 0))]))
        with pytest.raises(ImportDataError, match=r"no classes \['unicorn'\]; it has"):
            source.from_coco(coco(['a.jpg'], [(1, 1, (5, 5, 9, 9))]), classes=('unicorn',))
        labels = source.root / 'labels'
        labels.mkdir()
        with pytest.raises(ImportDataError, match=r'none of the 1 images has a label file.*a\.txt'):
            source.run(
                labels, source_format='yolo', images=[source.images], classes=('cat',),
                split_name='train',
            )  # fmt: skip

    def test_lines_read_the_splits_that_there_are(self):
        lines = config_lines(Path('/d'), ['cat'], ['train2017', 'val2017'], 'voc')
        read = {}
        exec(lines, read)
        lists = [
            read[f'{role}_dataloader']['dataset'].get('ann_file')
            for role in ('train', 'val', 'test')
        ]
        assert lists == [f'ImageSets/Main/{s}.txt' for s in ('train2017', 'val2017', 'val2017')]
        plain = config_lines(Path('/d'), ['cat'], ['train', 'val', 'test'], 'voc')
        assert 'train_dataloader = dataset\nval_dataloader = dataset\n' in plain
        assert 'ImageSets/Main/test.txt' in plain
        assert 'no split for val' in config_lines(Path('/d'), ['cat'], ['train'], 'voc')

    def test_a_failure_leaves_nothing(self, source):
        with pytest.raises(ImportDataError, match=r'no image is left(.|\n)*image_missing'):
            source.from_coco(coco(['gone.jpg']))
        assert sorted(p.name for p in source.root.iterdir()) == ['all.json', 'images']

    def test_an_interruption_does_not_wait_for_all_images(self, source, monkeypatch):
        names = [f'{k}.jpg' for k in range(50)]
        for name in names:
            picture(source.images / name)
        placed = []

        def place_slowly(path, *args, **kwargs):
            placed.append(path)
            time.sleep(0.02)
            return place_picture(path, *args, **kwargs)

        def interrupt(*args, **kwargs):
            raise KeyboardInterrupt

        monkeypatch.setattr(run, 'place_picture', place_slowly)
        monkeypatch.setattr(run, 'clean_boxes', interrupt)
        with pytest.raises(KeyboardInterrupt):
            source.from_coco(coco(names), progress=True)
        assert len(placed) < 50

    def test_drawn_splits(self, source):
        listed = [f'{k}.jpg' for k in range(10)]
        for name in listed:
            picture(source.images / name)
        shares = dict(train=0.7, val=0.2, test=0.1)
        out, report = source.from_coco(coco(listed), splits=shares, seed=3)
        assert report.facts['splits'] == dict(train=7, val=2, test=1)
        assert report.facts['drawn'] == dict(shares=shares, seed=3)
        assert "ann_file='ImageSets/Main/test.txt'" in report.facts['config']
        members = [
            (out / f'ImageSets/Main/{s}.txt').read_text().split() for s in ('train', 'val', 'test')
        ]
        assert sorted(i for ids in members for i in ids) == [str(k) for k in range(10)]

    def test_drawing_depends_on_ids_and_seed_alone(self):
        ids = [str(k) for k in range(40)]
        shares = dict(train=0.5, val=0.5)
        first = draw_splits(ids, shares, 0)
        assert draw_splits(ids[::-1], shares, 0) == first != draw_splits(ids, shares, 1)
        with pytest.raises(ImportDataError, match='too few'):
            draw_splits(ids[:2], dict(train=0.9, val=0.1), 0)

    @pytest.mark.parametrize('bad', [['train=0.8'], ['train=x', 'val=1'], ['train=1', 'val=0']])
    def test_bad_shares(self, bad):
        with pytest.raises(ImportDataError, match='--split'):
            parse_fractions(bad)

    def test_a_source_without_splits_needs_them(self, source):
        picture(source.images / 'a.jpg')
        with pytest.raises(ImportDataError, match='--split-name'):
            source.from_coco(coco(['a.jpg']), split_name=None)

    def test_screen_shows_ten_names_and_the_file_all(self):
        report = ImportReport()
        for k in range(12):
            report.add('image_missing', f'{k}.jpg', images=1)
        assert '9.jpg' in str(report) and '10.jpg' not in str(report)
        assert '... and 2 more' in str(report)
        assert len(report.to_dict()['reasons']['image_missing']['entries']) == 12
        assert report.unaccounted() == (-12, 0)
        with pytest.raises(KeyError):
            report.add('because', 'x')

    def test_every_reason_is_used(self):
        folder = Path(import_dataset.__code__.co_filename).parent
        code = ''.join(p.read_text() for p in folder.glob('*.py') if p.name != 'report.py')
        assert [reason for reason in REASONS if f"'{reason}'" not in code] == []

    def test_class_names_of_the_command_line(self, tmp_path):
        (tmp_path / 'names.txt').write_text('cat\n\nfire engine\n', encoding='utf-8-sig')
        assert read_class_names(str(tmp_path / 'names.txt')) == ('cat', 'fire engine')
        (tmp_path / 'data.yaml').write_text('names: {1: b, 0: a}')
        assert read_class_names(str(tmp_path / 'data.yaml')) == ('a', 'b')
        with pytest.raises(ImportDataError, match='twice'):
            read_class_names('a,b,a')
