# SPDX-License-Identifier: Apache-2.0
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from mmengine.config import Config
from problems import only_problem

from mmdet_mobilenext.datasets.checks import (
    COCO_CLASSES,
    CocoSource,
    DataCheckError,
    check_coco,
    check_dataset_cfgs,
    check_sources,
    coco,
    sources_from_cfg,
)
from mmdet_mobilenext.engine.config import load_config

REPO = Path(__file__).resolve().parents[2]
WIDTH, HEIGHT = 60, 40
CLASSES = ('cat', 'dog')
BOX = [5, 6, 20, 10]


def jpeg(seed=0, width=WIDTH, height=HEIGHT):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.imencode('.jpg', noise)[1].tobytes()


class CocoFolder:
    """A small data set that passes, with means to spoil it: three images of two objects each."""

    def __init__(self, root, split='train', seed=0):
        self.root, self.split = root, split
        self.img_dir = root / split
        self.file = root / 'annotations' / f'{split}.json'
        self.img_dir.mkdir(parents=True)
        self.file.parent.mkdir(exist_ok=True)
        names = [f'{i}.jpg' for i in (1, 2, 3)]
        for number, name in enumerate(names):
            (self.img_dir / name).write_bytes(jpeg(seed + number))
        self.data = dict(
            images=[
                dict(id=i, file_name=name, width=WIDTH, height=HEIGHT)
                for i, name in enumerate(names, 1)
            ],
            annotations=[],
            categories=[dict(id=3, name='cat'), dict(id=7, name='dog')],
        )
        for image in (1, 2, 3):
            for category in (3, 7):
                self.annotate(image, category)

    def annotate(self, image=1, category=3, **changes):
        entry = dict(
            id=max((a['id'] for a in self.data['annotations']), default=0) + 1,
            image_id=image,
            category_id=category,
            bbox=BOX,
            area=BOX[2] * BOX[3],
            iscrowd=0,
        )
        entry.update(changes)
        entry = {key: value for key, value in entry.items() if value is not ...}
        self.data['annotations'].append(entry)

    def write(self):
        self.file.write_text(json.dumps(self.data))

    def source(self, role='train', classes=CLASSES):
        return CocoSource(str(self.root), str(self.file), str(self.img_dir), classes, role)

    def check(self, classes=CLASSES, **kwargs):
        self.write()
        return check_coco(self.source(classes=classes), **kwargs)

    def dataset_cfg(self, **kwargs):
        return dict(
            type='CocoDataset',
            data_root=str(self.root),
            ann_file=f'annotations/{self.split}.json',
            data_prefix=dict(img=f'{self.split}/'),
            metainfo=dict(classes=CLASSES),
            **kwargs,
        )

    def built(self, classes=CLASSES):
        """The data set as MMDetection reads it."""
        self.write()
        return CocoDataset(
            ann_file=str(self.file),
            data_prefix=dict(img=str(self.img_dir)),
            metainfo=dict(classes=classes),
            test_mode=True,
        )


@pytest.fixture
def folder(tmp_path):
    return CocoFolder(tmp_path / 'coco')


class TestGoodData:
    def test_counts(self, folder):
        folder.data['annotations'] = folder.data['annotations'][2:]
        folder.annotate(2, 7, iscrowd=1)
        report = folder.check(decode='full')
        assert report.ok and not report.warnings
        assert (report.images, report.images_without_boxes, report.images_decoded) == (3, 1, 3)
        assert (report.objects, report.difficult) == (5, 1)
        assert report.per_class == {'cat': 2, 'dog': 3}
        assert report.title == 'train train' and report.ids == ('1.jpg', '2.jpg', '3.jpg')

    def test_classes_are_those_of_mmdet(self):
        assert CocoDataset.METAINFO['classes'] == COCO_CLASSES

    def test_counts_are_those_of_mmdet(self, folder):
        """Whatever is odd: the objects are those that training gets."""
        folder.data['categories'].insert(1, dict(id=5, name='cow'))
        for bbox, area in (
            ([5, 6, 0, 10], 0),
            ([5, 6, 0.9, 10], 9),
            ([5, 6, 20, 10], 0),
            ([WIDTH, 0, 5, 5], 25),
            ([0, -9, 5, 9], 45),
            ([WIDTH - 1, 0, 5, 5], 25),
            ([-3, -3, 200, 200], 40000),
            ([5, 6, -20, 10], 200),
        ):
            folder.annotate(2, 3, bbox=bbox, area=area)
        folder.annotate(1, 5)
        folder.annotate(1, 7, iscrowd=1)
        folder.annotate(1, 7, ignore=True)
        folder.annotate(1, 7, ignore=True, bbox=..., area=...)
        folder.annotate('1', 7)
        folder.annotate(99, 7, bbox=..., area=...)
        folder.annotate(1, 4)
        report = folder.check(unknown_classes='ignore')
        assert report.ok
        built = folder.built()
        instances = [i for index in range(3) for i in built.get_data_info(index)['instances']]
        assert report.objects == len(instances) == 9
        labels = [i['bbox_label'] for i in instances]
        assert list(report.per_class.values()) == [labels.count(0), labels.count(1)]
        assert report.difficult == sum(i['ignore_flag'] for i in instances) == 1
        said = '\n'.join(report.warnings)
        assert '4 box(es) without area' in said and '2 box(es) outside of their image' in said
        assert '2 box(es) with `ignore`' in said and '2 box(es) that reach more than' in said
        assert "2 object(s) of unknown classes are left out: 'cow' 1, 'category_id 4' 1" in said
        assert '2 box(es) of an `image_id` that no image has' in said
        assert f'id 10 of 2.jpg: [{WIDTH}, 0, 5, 5]' in said

    def test_box_may_end_a_rounding_beyond_the_image(self, folder):
        folder.annotate(bbox=[0, 0, WIDTH + 0.5, HEIGHT + 0.01])
        assert not folder.check().warnings

    def test_images_in_folders_below_and_behind_links(self, folder):
        (folder.img_dir / 'a').mkdir()
        (folder.img_dir / '1.jpg').rename(folder.img_dir / 'a' / '1.jpg')
        (folder.img_dir / '2.jpg').rename(folder.root / 'x.jpg')
        (folder.img_dir / '2.jpg').symlink_to(folder.root / 'x.jpg')
        folder.data['images'][0]['file_name'] = 'a/1.jpg'
        report = folder.check(decode='full')
        assert report.ok and report.images_decoded == 3

    def test_list_of_test_images_has_no_annotations(self, folder):
        del folder.data['annotations']
        only_problem(folder.check(), 'bad_json')
        report = check_coco(folder.source(role='test'))
        assert report.ok and 'no object in any of 3 images' in report.warnings[0]

    def test_category_without_objects_may_be_no_class(self, folder):
        folder.data['categories'].insert(0, dict(id=0, name='animals'))
        assert folder.check().ok


class TestPlaces:
    def test_no_data_root(self, tmp_path):
        root = str(tmp_path / 'nowhere')
        report = check_coco(CocoSource(root, f'{root}/a.json', f'{root}/images'))
        problem = only_problem(report, 'no_data_root')
        assert problem.path == root and os.getcwd() in problem.detail
        for said in ('COCO_DATA_ROOT', '--cfg-options data_root=', 'instances_train2017.json'):
            assert said in problem.hint

    def test_no_data_root_is_needed_for_absolute_paths(self, folder):
        folder.write()
        paths = (str(folder.file), str(folder.img_dir), CLASSES)
        assert check_coco(CocoSource('nowhere', *paths)).ok

    def test_what_is_there_is_listed(self, folder):
        folder.write()
        source = CocoSource(str(folder.root), f'{folder.file}x', f'{folder.img_dir}2017', CLASSES)
        report = check_coco(source)
        assert report.num_problems == {'no_ann_file': 1, 'no_folder': 1}
        no_file, no_folder = report.problems
        assert 'json files: train.json' in no_file.detail
        assert 'annotations, train' in no_folder.detail
        assert 'data_prefix' in no_folder.hint and 'COCO_DATA_ROOT' in no_file.hint

    def test_empty_root_names_what_is_missing(self, tmp_path):
        root = str(tmp_path)
        report = check_coco(CocoSource(root, f'{root}/annotations/a.json', f'{root}/train2017'))
        assert report.num_problems == {'no_ann_file': 1, 'no_folder': 1}

    def test_no_prefix(self, folder):
        folder.write()
        cfg = folder.dataset_cfg()
        del cfg['data_prefix']
        [source] = sources_from_cfg(cfg, 'train')
        assert 'no `img`' in only_problem(check_coco(source), 'no_folder').detail

    @pytest.mark.parametrize('base', ['coco_ssd320', 'coco_1333x800', 'coco_yolox'])
    def test_hint_of_a_missing_root_works(self, base, tmp_path, monkeypatch):
        """For each base of the COCO configs: by the variable, and by the option."""
        config = tmp_path / 'config.py'
        config.write_text(f"_base_ = '{REPO}/configs/_base_/datasets/{base}.py'\n")
        monkeypatch.setenv('COCO_DATA_ROOT', 'first')
        for options, root in ((None, 'first'), ({'data_root': 'second'}, 'second')):
            report = check_dataset_cfgs(load_config(str(config), options))
            assert only_problem(report, 'no_data_root').path.rstrip('/') == root


class TestJSON:
    @pytest.mark.parametrize(
        ('content', 'said'),
        [
            (b'', 'not JSON'),
            (b'{"images": [', 'not JSON'),
            (b'[' * 100_000, 'not JSON'),
            (b'\xff\xfe', 'UTF-8'),
            (b'\xef\xbb\xbf{}', 'BOM'),
            (b'[]', "['images', 'annotations', 'categories']"),
            (b'{"images": [], "annotations": {}, "categories": []}', "['annotations']"),
        ],
    )
    def test_bad_json(self, folder, content, said):
        folder.file.write_bytes(content)
        assert said in only_problem(check_coco(folder.source()), 'bad_json').detail

    @pytest.mark.parametrize(
        'changes',
        [
            dict(id=None),
            dict(id=[1]),
            dict(file_name=None),
            dict(file_name=['2.jpg']),
            dict(file_name='../train/2.jpg'),
            dict(file_name='/etc/passwd'),
            dict(file_name='a\0.jpg'),
            dict(file_name='\ud800.jpg'),
            dict(width=None),
            dict(width='60'),
            dict(height=0),
            dict(height=float('nan')),
            dict(width=59.5),
            dict(width=10**400),
        ],
    )
    def test_bad_image_entry(self, folder, changes):
        folder.data['annotations'] = [a for a in folder.data['annotations'] if a['image_id'] != 2]
        folder.data['images'][1].update(changes)
        problem = only_problem(folder.check(decode='full'), 'bad_image_entry')
        assert 'image 2' in problem.detail and 'root:' not in problem.detail

    def test_image_entry_of_another_type(self, folder):
        folder.data['images'].append('4.jpg')
        only_problem(folder.check(), 'bad_image_entry')

    @pytest.mark.parametrize(
        ('number', 'changes'),
        [(1, dict(id=1)), (2, dict(file_name='1.jpg'))],
    )
    def test_images_listed_twice(self, folder, number, changes):
        folder.data['annotations'] = folder.data['annotations'][:2]
        folder.data['images'][number].update(changes)
        only_problem(folder.check(), 'duplicate_id')

    @pytest.mark.parametrize(
        ('changes', 'said'),
        [
            (dict(id=...), 'has the id None'),
            (dict(id=1), 'another annotation'),
            (dict(image_id=...), 'has the image_id None'),
            (dict(category_id=...), 'has the category_id None'),
            (dict(bbox=...), 'bbox None'),
            (dict(bbox=[1, 2, 3]), 'bbox [1, 2, 3]'),
            (dict(bbox=[1, 2, float('nan'), 4]), 'bbox [1, 2, nan, 4]'),
            (dict(bbox=['1', 2, 3, 4]), "bbox ['1', 2, 3, 4]"),
            (dict(area=...), 'area None'),
            (dict(area='9'), "area '9'"),
        ],
    )
    def test_bad_annotation(self, folder, changes, said):
        folder.annotate(**changes)
        report = folder.check()
        problem = only_problem(report, 'bad_annotation')
        assert said in problem.detail and 'annotation 7' in problem.detail
        assert report.objects == 6

    def test_no_images(self, folder):
        folder.data.update(images=[], annotations=[])
        only_problem(folder.check(), 'no_images')

    def test_no_objects(self, folder):
        folder.data['annotations'] = []
        report = folder.check()
        assert report.ok and 'no object in any of 3 images' in report.warnings[0]

    def test_fractions_of_the_image_are_no_boxes(self, folder):
        for entry in folder.data['annotations']:
            entry['bbox'] = [0.1, 0.2, 0.3, 0.4]
        report = folder.check()
        assert 'all 6 boxes' in only_problem(report, 'no_objects').detail
        assert '6 box(es) without area' in report.warnings[0]

    def test_ids_of_another_type_leave_nothing(self, folder):
        for entry in folder.data['annotations']:
            entry['image_id'] = str(entry['image_id'])
        assert "image_id '1'" in folder.check().warnings[0]
        only_problem(folder.check(), 'no_objects')

    def test_fuzz_ends_in_reports_only(self, folder):
        rng = np.random.default_rng(7)
        folder.write()
        good = json.loads(folder.file.read_text())
        values = [None, True, -1, 0, 1, 3, 1e308, float('nan'), '', 'cat', '1.jpg', [], [1], {}]
        kinds = set()
        for _ in range(400):
            data = json.loads(json.dumps(good))
            for _ in range(rng.integers(1, 4)):
                part = data[('images', 'annotations', 'categories')[rng.integers(3)]]
                entry = part[rng.integers(len(part))]
                value = values[rng.integers(len(values))]
                if not entry or not isinstance(entry, dict) or rng.random() < 0.1:
                    part[rng.integers(len(part))] = value
                    continue
                key = list(entry)[rng.integers(len(entry))]
                if key == 'bbox' and rng.random() < 0.5 and isinstance(entry[key], list):
                    entry[key] = [*entry[key][:3], value]
                else:
                    entry[key] = value
            folder.file.write_text(json.dumps(data))
            report = check_coco(folder.source())
            kinds.update(report.num_problems)
            assert str(report) and json.dumps(report.to_dict())
            if not report.ok:
                with pytest.raises(DataCheckError):
                    report.raise_if_bad()
        assert {'bad_image_entry', 'bad_annotation', 'bad_category', 'duplicate_id'} <= kinds


class TestClasses:
    def test_unknown_class(self, folder):
        folder.data['categories'] += [dict(id=8, name='Dog '), dict(id=9, name='zebra')]
        folder.annotate(1, 8)
        folder.annotate(1, 9)
        folder.annotate(2, 9)
        report = folder.check()
        assert report.num_problems == {'unknown_class': 2}
        first, second = report.problems
        assert "'Dog '" in first.detail and "did you mean 'dog'" in first.detail
        assert "2 object(s) of category 'zebra' (id 9)" in second.detail
        assert "unknown_classes='ignore'" in second.hint and 'cat, dog' in second.hint
        report = folder.check(unknown_classes='ignore')
        assert report.ok and '3 object(s) of unknown classes' in report.warnings[0]

    def test_category_that_is_not_there(self, folder):
        folder.annotate(1, 4)
        problem = only_problem(folder.check(), 'unknown_class')
        assert '1 object(s) of category_id 4, which no category has' in problem.detail

    def test_own_categories_under_the_classes_of_coco(self, folder):
        for category, name in zip(folder.data['categories'], ('Cat', 'gnu'), strict=True):
            category['name'] = name
        report = folder.check(classes=COCO_CLASSES)
        assert report.num_problems == {'unknown_class': 2}
        assert "did you mean 'cat'" in report.problems[0].detail
        report = folder.check(classes=COCO_CLASSES, unknown_classes='ignore')
        assert 'all 6 objects' in only_problem(report, 'no_objects').detail

    @pytest.mark.parametrize(
        'classes', [('dog', 'cat'), ('gnu', 'cat', 'dog'), ('cat', 'x', 'dog')]
    )
    def test_order_by_which_mmdet_numbers_other_classes(self, folder, classes):
        report = folder.check(classes=classes)
        problem = only_problem(report, 'class_order')
        instances = folder.built(classes).get_data_info(0)['instances']
        # categories 3 and 7 are cat and dog
        assert [classes[i['bbox_label']] for i in instances] != ['cat', 'dog']
        assert 'the order there is: cat, dog' in problem.hint

    def test_category_of_no_class_between_does_not_shift(self, folder):
        folder.data['categories'].insert(1, dict(id=1, name='cow'))
        assert folder.check().ok
        instances = folder.built().get_data_info(0)['instances']
        assert [i['bbox_label'] for i in instances] == [0, 1]

    def test_class_that_is_no_category_is_named(self, folder):
        report = folder.check(classes=('cat', 'dog', 'emu'))
        assert report.ok
        [warning] = report.warnings
        assert '1 class(es)' in warning and warning.endswith(': emu')

    @pytest.mark.parametrize(
        ('entry', 'said'),
        [
            ('dog', 'no usable id'),
            (dict(name='dog'), 'no usable id'),
            (dict(id=9), 'no name'),
            (dict(id=7, name='emu'), "that of 'dog' too"),
            (dict(id=9, name='dog'), 'twice'),
        ],
    )
    def test_bad_category(self, folder, entry, said):
        folder.data['categories'].append(entry)
        assert said in only_problem(folder.check(), 'bad_category').detail


class TestImages:
    def test_missing_images(self, folder):
        (folder.img_dir / '1.jpg').unlink()
        (folder.img_dir / '2.jpg').rename(folder.img_dir / '2.png')
        report = folder.check(decode='full')
        assert report.num_problems == {'missing_image': 2} and report.images_decoded == 1
        assert report.problems[0].path == str(folder.img_dir / '1.jpg')
        assert 'there is 2.png' in report.problems[1].detail

    def test_wrong_prefix_is_one_problem(self, folder):
        for entry in folder.data['images']:
            entry['file_name'] = f'train/{entry["file_name"]}'
        problem = only_problem(folder.check(), 'missing_image')
        assert 'none of 3 images' in problem.detail and "'train/1.jpg'" in problem.detail
        assert problem.detail.endswith('1.jpg') and 'data_prefix' in problem.hint

    def test_folders_are_listed_once(self, folder, monkeypatch):
        listed, looked = [], []
        scandir, isfile = os.scandir, os.path.isfile
        folder.write()
        monkeypatch.setattr('os.scandir', lambda p: listed.append(p) or scandir(p))
        monkeypatch.setattr('os.path.isfile', lambda p: looked.append(p) or isfile(p))
        assert check_coco(folder.source()).ok
        assert len(listed) == 1 and looked == [str(folder.file)]

    @pytest.mark.parametrize(
        ('data', 'kind'),
        [
            (b'no image at all', 'image_undecodable'),
            (jpeg()[:1500], 'image_truncated'),
            (jpeg(width=WIDTH + 1), 'image_size'),
        ],
    )
    def test_decoding(self, folder, data, kind):
        (folder.img_dir / '2.jpg').write_bytes(data)
        problem = only_problem(folder.check(decode='sample'), kind)
        assert problem.path.endswith('2.jpg')
        if kind == 'image_size':
            assert f'json {WIDTH} x {HEIGHT}' in problem.detail
        assert folder.check(decode='none').ok

    def test_sample_is_seeded(self, folder):
        for i in range(10, 30):
            (folder.img_dir / f'{i}.jpg').write_bytes(b'no image')
            folder.data['images'].append(
                dict(id=i, file_name=f'{i}.jpg', width=WIDTH, height=HEIGHT)
            )
        paths = []
        for seed in (0, 0, 1):
            report = folder.check(decode='sample', sample_size=5, seed=seed)
            assert report.images_decoded == 5
            paths.append([p.path for p in report.problems])
        assert paths[0] == paths[1] != paths[2]


class TestLargeFile:
    @pytest.fixture(autouse=True)
    def everything_is_large(self, monkeypatch):
        monkeypatch.setattr(coco, 'MAX_PARSED', 100)

    def test_sample_alone_and_said(self, folder):
        folder.annotate(area=...)
        report = folder.check(decode='sample')
        assert report.ok and report.images_decoded == 3 and report.objects == 0
        [warning] = report.warnings
        assert 'NOT CHECKED' in warning and '3 of its images and the categories' in warning
        assert folder.source().command in warning
        only_problem(folder.check(decode='full'), 'bad_annotation')

    def test_sample_size(self, folder):
        report = folder.check(decode='sample', sample_size=2)
        assert len(report.ids) == 2 and set(report.ids) < {'1.jpg', '2.jpg', '3.jpg'}

    def test_what_it_finds(self, folder):
        (folder.img_dir / '1.jpg').unlink()
        (folder.img_dir / '2.jpg').write_bytes(b'no image')
        report = folder.check(decode='sample', classes=('dog', 'cat'))
        assert set(report.num_problems) == {'class_order', 'missing_image', 'image_undecodable'}

    def test_no_category_is_a_class(self, folder):
        report = folder.check(classes=('emu',))
        assert 'no category is a class: cat, dog' in only_problem(report, 'unknown_class').detail

    def test_cut_off(self, folder):
        folder.write()
        data = folder.file.read_bytes()
        folder.file.write_bytes(data[: len(data) - 100])
        assert 'cut off?' in only_problem(check_coco(folder.source()), 'bad_json').detail
        folder.file.write_bytes(b'x' + data)
        assert 'starts with' in only_problem(check_coco(folder.source()), 'bad_json').detail

    def test_unsafe_name(self, folder):
        folder.data['images'][0]['file_name'] = '../1.jpg'
        only_problem(folder.check(decode='sample'), 'bad_image_entry')


class TestConfigs:
    @pytest.fixture
    def both(self, tmp_path):
        folders = CocoFolder(tmp_path / 'coco'), CocoFolder(tmp_path / 'coco', 'val', seed=10)
        for folder in folders:
            folder.write()
        return folders

    def config(self, both, **kwargs):
        train, val = (folder.dataset_cfg() for folder in both)
        train = dict(type='RepeatDataset', times=2, dataset=train)
        return Config(
            dict(
                train_dataloader=dict(dataset=train),
                val_dataloader=dict(dataset=val),
                test_dataloader=dict(dataset=val),
                **kwargs,
            )
        )

    def test_same_paths_as_mmdet(self, folder):
        folder.write()
        cfg = folder.dataset_cfg()
        [source] = sources_from_cfg(cfg, 'train')
        cfg.pop('type')
        dataset = CocoDataset(**cfg, lazy_init=True)
        assert (source.ann_file, source.img_dir) == (dataset.ann_file, dataset.data_prefix['img'])
        assert source.classes == dataset.metainfo['classes']
        cfg = dict(type='mmdet.CocoDataset', ann_file='a.json', data_prefix=dict(img=''))
        assert sources_from_cfg(cfg, 'val') == [CocoSource('', 'a.json', '', role='val')]

    def test_distinct_sources_are_checked_once(self, both):
        report = check_dataset_cfgs(self.config(both))
        assert report.ok and not report.warnings
        assert [part.title for part in report.parts] == ['train train', 'val+test val']
        assert (report.images, report.objects, report.images_decoded) == (6, 12, 6)

    def test_options(self, both):
        both[0].data['categories'].append(dict(id=9, name='emu'))
        both[0].annotate(1, 9)
        both[0].write()
        cfg = self.config(both, data_check=dict(unknown_classes='ignore', decode='none'))
        report = check_dataset_cfgs(cfg)
        assert report.ok and report.images_decoded == 0
        with pytest.raises(DataCheckError, match='unknown_classes'):
            check_dataset_cfgs(cfg, unknown_classes='drop')

    def test_leakage(self, both):
        """Files of the same name are the same image if they have the same size."""
        train, val = both
        (val.img_dir / '2.jpg').write_bytes((train.img_dir / '2.jpg').read_bytes())
        [warning] = check_dataset_cfgs(self.config(both)).warnings
        assert warning.startswith('1 images are both') and warning.endswith('2.jpg')
        assert str(train.file) in warning and str(val.file) in warning
        sources = [train.source('train'), train.source('test')]
        assert check_sources(sources).warnings[0].startswith('3 images are both')

    def test_same_files_by_other_names_leak(self, folder):
        folder.write()
        other = folder.root / 'annotations' / 'other.json'
        for entry in folder.data['images']:
            entry['file_name'] = f'train/{entry["file_name"]}'
        other.write_text(json.dumps(folder.data))
        test = CocoSource(str(folder.root), str(other), str(folder.root), CLASSES, 'test')
        assert check_sources([folder.source(), test]).warnings[0].startswith('3 images')

    @pytest.mark.parametrize(
        ('change', 'named'),
        [
            (dict(data_root='s3://bucket/coco'), 's3://bucket'),
            (dict(backend_args=dict(backend='petrel')), 'petrel'),
        ],
    )
    def test_not_local(self, folder, change, named):
        cfg = dict(train_dataloader=dict(dataset={**folder.dataset_cfg(), **change}))
        [warning] = check_dataset_cfgs(cfg).warnings
        assert 'NOT CHECKED' in warning and named in warning


def test_training_ends_before_it_starts(tmp_path, monkeypatch):
    from mmdet_mobilenext.engine.train import check_before_training

    monkeypatch.setenv('COCO_DATA_ROOT', str(tmp_path / 'nowhere'))
    cfg = load_config(str(REPO / 'configs' / 'ssdlite_mobilenext_coco.py'))
    with pytest.raises(DataCheckError, match='COCO_DATA_ROOT'):
        check_before_training(cfg)


class TestTool:
    @pytest.fixture
    def main(self):
        path = REPO / 'tools' / 'check_voc.py'
        spec = importlib.util.spec_from_file_location('check_voc_tool', path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.main

    def test_command_of_the_error_message_works(self, folder, main, capsys):
        folder.data['categories'].append(dict(id=9, name='my class'))
        folder.annotate(1, 9)
        [command] = folder.check().commands
        _, tool, *args = shlex.split(command)
        assert tool == 'tools/check_voc.py' and main(args) == 1
        out = capsys.readouterr().out
        assert "'my class'" in out and re.search(r'images decoded +\| +3 ', out)
        assert main([*args, '--unknown-classes', 'ignore']) == 0

    def test_config(self, folder, main, tmp_path, capsys):
        folder.write()
        config = tmp_path / 'config.py'
        config.write_text(f'train_dataloader = dict(dataset={folder.dataset_cfg()!r})\n')
        assert main([str(config)]) == 0
        assert 'No problems found.' in capsys.readouterr().out


def test_modules_are_light():
    code = (
        'import sys, types\n'
        "for name in ('mmdet_mobilenext', 'mmdet_mobilenext.datasets'):\n"
        '    module = sys.modules[name] = types.ModuleType(name)\n'
        "    module.__path__ = [sys.argv[1] + '/' + name.replace('.', '/')]\n"
        'from mmdet_mobilenext.datasets.checks import check_coco\n'
        "print([m for m in ('torch', 'mmdet', 'pycocotools', 'globox') if m in sys.modules])\n"
    )
    run = [sys.executable, '-c', code, str(REPO)]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip() == '[]'
