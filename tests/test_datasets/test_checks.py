# SPDX-License-Identifier: Apache-2.0
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from problems import only_problem

from mmdet_mobilenext.datasets.checks import (
    VOC_CLASSES,
    CheckReport,
    DataCheckError,
    VOCSource,
    check_dataset_cfgs,
    check_sources,
    check_voc,
    sources_from_cfg,
)

REPO = Path(__file__).resolve().parents[2]
WIDTH, HEIGHT = 60, 40
GOOD_BOX = ('5', '6', '30', '20')


def obj(name='dog', box=GOOD_BOX, extra='<difficult>0</difficult>'):
    tags = zip(('xmin', 'ymin', 'xmax', 'ymax'), box, strict=True)
    inner = ''.join(f'<{tag}>{value}</{tag}>' for tag, value in tags if value is not None)
    return f'<object><name>{name}</name>{extra}<bndbox>{inner}</bndbox></object>'


def xml(*objects, size=f'<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>'):
    return f'<annotation>{size}{"".join(objects)}</annotation>'


def jpeg(height=HEIGHT, width=WIDTH, seed=0, **params):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    flags = [v for k, value in params.items() for v in (getattr(cv2, k), value)]
    return cv2.imencode('.jpg', noise, flags)[1].tobytes()


class VOCFolder:
    """A small data set that passes, with means to spoil it."""

    def __init__(self, devkit, ids=('000001', '000002', '000003')):
        self.root = devkit / 'VOC2007'
        self.devkit = devkit
        for sub in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
            (self.root / sub).mkdir(parents=True)
        for img_id in ids:
            self.image(img_id).write_bytes(jpeg())
            self.xml(img_id).write_text(xml(obj(), obj('person')))
        self.split('trainval', ids)

    def image(self, img_id):
        return self.root / 'JPEGImages' / f'{img_id}.jpg'

    def xml(self, img_id):
        return self.root / 'Annotations' / f'{img_id}.xml'

    def split_file(self, name):
        return self.root / 'ImageSets' / 'Main' / f'{name}.txt'

    def split(self, name, lines):
        self.split_file(name).write_text(''.join(f'{line}\n' for line in lines))

    def source(self, name='trainval', role='train', **kwargs):
        paths = (str(self.devkit), str(self.split_file(name)), str(self.root))
        return VOCSource(*paths, role=role, **kwargs)

    def check(self, **kwargs):
        return check_voc(self.source(), **kwargs)

    def dataset_cfg(self, name='trainval', **kwargs):
        return dict(
            type='VOCDataset',
            data_root=str(self.devkit),
            ann_file=f'VOC2007/ImageSets/Main/{name}.txt',
            data_prefix=dict(sub_data_root='VOC2007/'),
            **kwargs,
        )


@pytest.fixture
def voc(tmp_path):
    return VOCFolder(tmp_path / 'VOCdevkit')


class TestGoodData:
    def test_counts(self, voc):
        voc.xml('000001').write_text(xml())
        voc.xml('000002').write_text(
            xml(obj('dog', extra='<truncated>1</truncated><difficult>1</difficult>'), obj('cat'))
        )
        report = voc.check(decode='full')
        assert report.ok and not report.warnings
        report.raise_if_bad()
        assert (report.images, report.images_without_boxes, report.images_decoded) == (3, 1, 3)
        assert (report.objects, report.difficult, report.truncated) == (4, 1, 1)
        counts = {name: n for name, n in report.per_class.items() if n}
        assert counts == {'cat': 1, 'dog': 2, 'person': 1}
        assert list(report.per_class) == list(VOC_CLASSES)

    @pytest.mark.parametrize(
        'text',
        [
            pytest.param(xml(obj(box=('1', '1', WIDTH, HEIGHT))), id='whole-image'),
            pytest.param(xml(obj(box=('45.70000076293945', '1', '50', '9'))), id='float'),
            pytest.param(xml(obj(box=('5', '5', f'{WIDTH}.4', '9'))), id='float-cut-as-mmdet'),
            pytest.param(xml(obj(extra='')), id='no-difficult'),
            pytest.param(
                xml(
                    '<object><name>person</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax>'
                    '<ymax>9</ymax></bndbox><part><name>head</name><bndbox><xmin>0</xmin></bndbox>'
                    '</part></object>'
                ),
                id='part',
            ),
            pytest.param('<?xml version="1.0" encoding="latin-1"?>\n' + xml(obj()), id='latin-1'),
        ],
    )
    def test_legal_oddities(self, voc, text):
        voc.xml('000001').write_text(text)
        report = voc.check()
        assert report.ok and not report.warnings
        assert report.objects == 5  # one of them in the odd file

    def test_thin_box_is_a_counted_warning(self, voc):
        voc.xml('000001').write_text(xml(obj(box=('5', '6', '5', '9')), obj()))
        report = voc.check()
        assert report.ok and report.objects == 6
        [warning] = report.warnings
        assert '1 box(es) of one pixel' in warning and '000001.xml' in warning

    def test_no_object_anywhere_is_a_warning(self, voc):
        for img_id in ('000001', '000002', '000003'):
            voc.xml(img_id).write_text(xml())
        report = voc.check()
        assert report.ok and 'no object in any of 3 images' in report.warnings[0]

    def test_windows_line_ends(self, voc):
        voc.split_file('trainval').write_bytes(b'000001\r\n000002\r\n000003')
        report = voc.check()
        assert report.ok and report.ids == ('000001', '000002', '000003')

    def test_module_is_light(self):
        # In an own interpreter, and past the package, which does import mmdet.
        code = (
            'import sys, types\n'
            "for name in ('mmdet_mobilenext', 'mmdet_mobilenext.datasets'):\n"
            '    module = sys.modules[name] = types.ModuleType(name)\n'
            "    module.__path__ = [sys.argv[1] + '/' + name.replace('.', '/')]\n"
            'import mmdet_mobilenext.datasets.checks\n'
            "print([m for m in ('torch', 'mmdet', 'mmcv') if m in sys.modules])\n"
        )
        run = [sys.executable, '-c', code, str(REPO)]
        out = subprocess.run(run, capture_output=True, text=True, check=True)
        assert out.stdout.strip() == '[]'


class TestPlacesAndLists:
    def test_no_data_root(self, tmp_path):
        root = tmp_path / 'nowhere'
        source = VOCSource(str(root), str(root / 'a.txt'), str(root / 'VOC2007'), role='train')
        problem = only_problem(check_voc(source), 'no_data_root')
        assert problem.path == str(root)
        assert 'VOC_DATA_ROOT' in problem.hint and '--cfg-options data_root=' in problem.hint

    def test_wrong_sub_root_lists_what_is_there(self, voc):
        source = replace(voc.source(), sub_data_root=str(voc.devkit / 'VOC2012'))
        problem = only_problem(check_voc(source), 'no_data_root')
        assert problem.path.endswith('VOC2012') and 'VOC2007' in problem.detail

    def test_no_image_folder_is_one_problem(self, voc):
        source = voc.source(img_subdir='images')
        problem = only_problem(check_voc(source), 'no_folder')
        assert problem.path.endswith('images') and 'JPEGImages' in problem.detail
        assert '--img-subdir images' in check_voc(source).commands[0]

    def test_no_split_file_lists_what_is_there(self, voc):
        voc.split('val', ['000001'])
        problem = only_problem(check_voc(voc.source('tranval')), 'no_split_file')
        assert problem.path.endswith('tranval.txt')
        assert 'trainval.txt, val.txt' in problem.detail

    def test_split_folder_missing_too(self, voc):
        source = replace(voc.source(), ann_file=str(voc.root / 'Main' / 'trainval.txt'))
        assert 'trainval.txt' in only_problem(check_voc(source), 'no_split_file').detail

    @pytest.mark.parametrize('content', [b'', b'\xff\xfe0\x000\x00'])
    def test_bad_split_file(self, voc, content):
        voc.split_file('trainval').write_bytes(content)
        only_problem(voc.check(), 'bad_split_file')

    @pytest.mark.parametrize(
        ('line', 'said'),
        [
            ('', 'blank'),
            ('  ', 'blank'),
            ('000001 ', 'spaces'),
            ('..', 'path'),
            ('/etc/passwd', 'path'),
            ('../../secret', 'separator'),
            ('a/000001', 'separator'),
            ('a\\000001', 'separator'),
            ('\ufeff000001', 'control'),
            ('00\x000001', 'control'),
            ('000001 -1', 'per-class'),
            ('000001  1', 'per-class'),
            ('000001.jpg', 'extension'),
        ],
    )
    def test_bad_id(self, voc, line, said):
        voc.split_file('trainval').write_text(f'000002\n{line}\n000003\n', encoding='utf-8')
        report = voc.check()
        problem = only_problem(report, 'bad_id')
        assert said in problem.detail and 'line 2' in problem.detail
        assert report.images == 2

    def test_id_that_leaves_the_folder_is_not_read(self, voc, tmp_path):
        (tmp_path / 'VOCdevkit' / 'out.xml').write_text('not XML')
        voc.split('trainval', ['../../out'])
        assert voc.check(decode='full').num_problems == {'bad_id': 1}

    def test_id_with_inner_space_is_legal(self, voc):
        voc.image('my dog').write_bytes(jpeg())
        voc.xml('my dog').write_text(xml(obj()))
        voc.split('trainval', ['my dog'])
        assert voc.check(decode='full').ok

    def test_duplicate_id(self, voc):
        voc.split('trainval', ['000001', '000002', '000001'])
        report = voc.check()
        assert 'line 3' in only_problem(report, 'duplicate_id').detail
        assert report.images == 2

    def test_missing_files(self, voc):
        voc.image('000001').unlink()
        voc.xml('000002').unlink()
        voc.image('000003').rename(voc.image('000003').with_suffix('.png'))
        report = voc.check(decode='full')
        assert report.num_problems == {'missing_image': 2, 'missing_xml': 1}
        assert 'there is 000003.png' in report.problems[1].detail

    def test_folder_in_place_of_an_image(self, voc):
        voc.image('000001').unlink()
        voc.image('000001').mkdir()
        assert 'a folder' in only_problem(voc.check(), 'missing_image').detail

    @pytest.mark.parametrize('which', ['image', 'xml'])
    def test_empty_file_is_found_without_decoding(self, voc, which):
        path = getattr(voc, which)('000002')
        path.write_bytes(b'')
        assert only_problem(voc.check(), 'empty_file').path == str(path)


class TestXML:
    def spoil(self, voc, text):
        voc.xml('000002').write_text(text)
        return voc.check()

    def test_unparsable_names_file_and_line(self, voc):
        report = self.spoil(voc, '<annotation>\n<size>\n</annotation>')
        problem = only_problem(report, 'bad_xml')
        assert problem.path == str(voc.xml('000002')) and 'line 3' in problem.detail

    @pytest.mark.parametrize(
        'size',
        [
            '',
            '<size/>',
            '<size><width>60</width></size>',
            '<size><width>0</width><height>40</height></size>',
            '<size><width>60</width><height>-4</height></size>',
            '<size><width>60.0</width><height>40</height></size>',
            '<size><width/><height>40</height></size>',
        ],
    )
    def test_bad_size(self, voc, size):
        only_problem(self.spoil(voc, xml(obj(), size=size)), 'bad_size')

    @pytest.mark.parametrize('box', [*((*GOOD_BOX[:i], bad, *GOOD_BOX[i + 1 :]) for i in range(4)
                             for bad in ('nan', 'inf', 'x', '', None, '1e999'))])  # fmt: skip
    def test_bad_box(self, voc, box):
        only_problem(self.spoil(voc, xml(obj(box=box))), 'bad_box')

    def test_no_bndbox(self, voc):
        report = self.spoil(voc, xml('<object><name>dog</name></object>'))
        assert 'no <bndbox>' in only_problem(report, 'bad_box').detail

    @pytest.mark.parametrize(
        'box',
        [
            ('0', '6', '30', '20'),
            ('0.9', '6', '30', '20'),
            ('5', '0', '30', '20'),
            ('-3', '6', '30', '20'),
            ('5', '6', f'{WIDTH + 1}', '20'),
            ('5', '6', '30', f'{HEIGHT + 1}'),
        ],
    )
    def test_box_outside(self, voc, box):
        problem = only_problem(self.spoil(voc, xml(obj(), obj('cat', box))), 'box_outside')
        assert "object 2 ('cat')" in problem.detail and f'{WIDTH} x {HEIGHT}' in problem.detail

    @pytest.mark.parametrize('box', [('31', '6', '30', '20'), ('5', '21', '30', '20')])
    def test_box_without_area(self, voc, box):
        only_problem(self.spoil(voc, xml(obj(box=box))), 'box_no_area')

    @pytest.mark.parametrize(
        'text', ['<object><pose/></object>', obj(extra='<difficult>no</difficult>')]
    )
    def test_bad_object(self, voc, text):
        only_problem(self.spoil(voc, xml(text)), 'bad_object')

    def test_unknown_class(self, voc):
        report = self.spoil(voc, xml(obj('Dog '), obj('zebra'), obj('zebra'), obj()))
        assert report.num_problems == {'unknown_class': 2}
        first, second = report.problems
        assert "'Dog '" in first.detail and "did you mean 'dog'" in first.detail
        assert "2 object(s) of class 'zebra'" in second.detail and 'tvmonitor' in second.hint
        assert "unknown_classes='ignore'" in first.hint
        assert report.objects == 5

    def test_unknown_class_that_differs_in_case(self, voc):
        source = voc.source(classes=('Dog', 'person'))
        assert "did you mean 'Dog'" in check_voc(source).problems[0].detail

    def test_unknown_class_ignored_but_counted(self, voc):
        # As in training, nothing of the object but its name is read.
        voc.xml('000002').write_text(xml(obj('zebra'), '<object><name>zebra</name></object>'))
        report = voc.check(unknown_classes='ignore')
        assert report.ok and report.objects == 4 and report.images_without_boxes == 1
        assert "2 object(s) of unknown classes are left out: 'zebra' 2" in report.warnings[0]

    def test_ignoring_everything_is_an_error(self, voc):
        source = voc.source(classes=('Dog', 'Person'))
        report = check_voc(source, unknown_classes='ignore')
        assert "'dog' 3" in only_problem(report, 'no_objects').detail
        assert '--classes Dog Person' in report.commands[0]

    @pytest.mark.parametrize(
        'head',
        [
            '<!DOCTYPE annotation>',
            '<!DOCTYPE annotation SYSTEM "{secret}">',
            '<!DOCTYPE a [<!ENTITY x SYSTEM "{secret}">]>',
            '<!DOCTYPE a [<!ENTITY a "zebra"><!ENTITY b "'
            + '&a;' * 50
            + '"><!ENTITY x "'
            + '&b;' * 50
            + '">]>',
        ],
        ids=['plain', 'external-dtd', 'external-entity', 'bomb'],
    )
    @pytest.mark.parametrize('encoding', ['utf-8', 'utf-16'])
    def test_doctype_is_refused_unread(self, voc, tmp_path, head, encoding):
        secret = tmp_path / 'secret.txt'
        secret.write_text('TOP SECRET')
        body = obj('&x;') if 'ENTITY x' in head else obj()
        text = head.format(secret=secret.as_uri()) + xml(body)
        voc.xml('000002').write_bytes(text.encode(encoding))
        report = voc.check()
        only_problem(report, 'xml_doctype')
        assert 'SECRET' not in str(report) and 'zebrazebra' not in str(report)

    def test_all_problems_of_all_files_are_found(self, voc):
        voc.xml('000001').write_text(xml(obj('cow', ('0', '1', '2', '3')), obj('x'), size=''))
        voc.xml('000003').write_text('<')
        report = voc.check()
        assert report.num_problems == {
            'bad_size': 1,
            'box_outside': 1,
            'unknown_class': 1,
            'bad_xml': 1,
        }

    def test_fuzz_ends_in_reports_only(self, voc):
        rng = np.random.default_rng(7)
        good = ('<?xml version="1.0" encoding="utf-8"?>' + xml(obj(), obj('person'))).encode()
        texts = [match.span(1) for match in re.finditer(rb'>([^<]+)<', good)]
        pieces = [b'9', b'-', b'.', b'e', b'0', b' ', b'&', b'<', b'nan', b'\0', b'\xff', b'']
        kinds = set()
        path = voc.xml('000002')
        for trial in range(400):
            data = bytearray(good)
            if trial % 2:  # between the tags, so that the parser lets it through
                start, end = texts[rng.integers(len(texts))]
                at = int(rng.integers(start, end))
                data[at : at + int(rng.integers(3))] = pieces[rng.integers(len(pieces))]
            for _ in range(rng.integers(1, 5) if trial % 2 == 0 else 0):
                at, start = (int(i) for i in rng.integers(len(data) + 1, size=2))
                length = int(rng.integers(0, 12))
                data[at : at + length] = [
                    b'',
                    rng.integers(0, 256, length, dtype=np.uint8).tobytes(),
                    bytes(data[start : start + length]),
                    pieces[rng.integers(len(pieces))],
                ][rng.integers(4)]
            path.write_bytes(bytes(data))
            report = voc.check()
            kinds.update(report.num_problems)
            assert str(report) and json.dumps(report.to_dict())
            if not report.ok:
                with pytest.raises(DataCheckError, match='000002'):
                    report.raise_if_bad()
        # The mutations do reach past the parser.
        assert {'bad_xml', 'bad_size', 'bad_box', 'box_outside', 'unknown_class'} <= kinds


class TestImages:
    def spoil(self, voc, data, **kwargs):
        voc.image('000002').write_bytes(data)
        return voc.check(**{'decode': 'full', **kwargs})

    @pytest.mark.parametrize('progressive', [0, 1])
    @pytest.mark.parametrize('kept', [0.3, 0.5, 0.9, 0.99])  # OpenCV 4.10 fills these up
    def test_truncated_jpeg(self, voc, kept, progressive):
        data = jpeg(IMWRITE_JPEG_PROGRESSIVE=progressive)
        data = data[: int(len(data) * kept)]
        only_problem(self.spoil(voc, data), 'image_truncated')

    def test_truncation_is_found_where_pillow_is_told_to_pass_it(self, voc, monkeypatch):
        monkeypatch.setattr('PIL.ImageFile.LOAD_TRUNCATED_IMAGES', True)
        data = jpeg()
        only_problem(self.spoil(voc, data[: len(data) // 2]), 'image_truncated')
        from PIL import ImageFile

        assert ImageFile.LOAD_TRUNCATED_IMAGES  # put back

    @pytest.mark.parametrize('data', [b'no image at all', b'\xff\xd8', jpeg()[:30], b'\0' * 99])
    def test_undecodable(self, voc, data):
        report = self.spoil(voc, data)
        assert set(report.num_problems) <= {'image_undecodable', 'image_truncated'}
        assert [p.path for p in report.problems] == [str(voc.image('000002'))]

    def test_png_content_is_fine(self, voc):
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        assert self.spoil(voc, cv2.imencode('.png', image)[1].tobytes()).ok

    def test_size_differs_from_xml(self, voc):
        problem = only_problem(self.spoil(voc, jpeg(width=WIDTH + 1)), 'image_size')
        assert f'image {WIDTH + 1} x {HEIGHT}, XML {WIDTH} x {HEIGHT}' in problem.detail

    def test_turned_image_is_named(self, voc):
        problem = only_problem(self.spoil(voc, jpeg(WIDTH, HEIGHT)), 'image_size')
        assert 'EXIF' in problem.detail

    def test_none_does_not_decode(self, voc):
        report = self.spoil(voc, b'no image', decode='none')
        assert report.ok and report.images_decoded == 0

    def test_sample_is_seeded(self, tmp_path):
        ids = [f'{i:06d}' for i in range(30)]
        voc = VOCFolder(tmp_path, ids)
        for img_id in ids:
            voc.image(img_id).write_bytes(b'no image')
        paths = []
        for seed in (0, 0, 1):
            report = voc.check(decode='sample', sample_size=5, seed=seed)
            assert report.images_decoded == 5 and report.num_problems == {'image_undecodable': 5}
            paths.append([p.path for p in report.problems])
        assert paths[0] == paths[1] != paths[2]

    def test_fuzz_ends_in_reports_only(self, voc):
        rng = np.random.default_rng(3)
        good = jpeg()
        bad = 0
        for _ in range(100):
            data = np.frombuffer(good, np.uint8).copy()
            at = rng.integers(len(data), size=3)
            data[at] = rng.integers(0, 256, 3)
            report = self.spoil(voc, data[: rng.integers(1, len(data) + 1)].tobytes())
            bad += not report.ok
        assert bad > 50


class TestSources:
    def test_through_wrappers_with_mmengine_joining(self, voc, tmp_path):
        cfg = dict(
            type='RepeatDataset',
            times=3,
            dataset=dict(
                type='mmdet.MultiImageMixDataset',
                dataset=dict(
                    type='ConcatDataset',
                    datasets=[
                        dict(type='ClassBalancedDataset', dataset=voc.dataset_cfg()),
                        dict(
                            type='mmdet.XMLDataset',
                            ann_file=str(tmp_path / 'list.txt'),
                            data_root='elsewhere',
                            data_prefix=dict(sub_data_root=str(tmp_path)),
                            img_subdir='img',
                            ann_subdir='xml',
                            metainfo=dict(classes=('a', 'b')),
                        ),
                    ],
                ),
            ),
        )
        first, second = sources_from_cfg(Config(dict(d=cfg)).d, 'train')
        # The paths that mmengine makes, with its slash at the end.
        assert first == replace(voc.source(), sub_data_root=f'{voc.root}/')
        assert first.title == 'train VOC2007/trainval'
        assert (second.ann_file, second.sub_data_root) == (
            str(tmp_path / 'list.txt'),
            str(tmp_path),
        )
        assert (second.img_dir, second.ann_dir) == (str(tmp_path / 'img'), str(tmp_path / 'xml'))
        assert second.classes == ('a', 'b')

    def test_same_paths_as_mmdet(self, voc):
        from mmdet.datasets import VOCDataset

        cfg = voc.dataset_cfg()
        cfg.pop('type')
        dataset = VOCDataset(**cfg, lazy_init=True)
        [source] = sources_from_cfg(voc.dataset_cfg(), 'train')
        assert source.ann_file == dataset.ann_file
        assert source.sub_data_root == dataset.sub_data_root
        assert source.classes == tuple(dataset.metainfo['classes'])

    def test_without_sub_data_root_mmdet_reads_from_the_working_directory(self):
        cfg = dict(type='VOCDataset', data_root='root', ann_file='a.txt')
        [source] = sources_from_cfg(cfg, 'train')
        assert (source.ann_file, source.img_dir) == (os.path.join('root', 'a.txt'), 'JPEGImages')

    def test_class_file(self, voc, tmp_path):
        names = tmp_path / 'classes.txt'
        names.write_text('dog\nperson\n')
        [source] = sources_from_cfg(voc.dataset_cfg(metainfo=dict(classes=str(names))), 'val')
        assert source.classes == ('dog', 'person')

    @pytest.mark.parametrize('classes', ['person', (), (1, 2)])
    def test_bad_classes(self, voc, classes):
        with pytest.raises(DataCheckError, match=r'metainfo\.classes.*got'):
            sources_from_cfg(voc.dataset_cfg(metainfo=dict(classes=classes)), 'train')

    def test_bad_ann_file(self, voc):
        cfg = dict(voc.dataset_cfg(), ann_file=['a.txt', 'b.txt'])
        with pytest.raises(DataCheckError, match=r'ann_file.*ConcatDataset'):
            sources_from_cfg(cfg, 'train')

    @pytest.mark.parametrize(
        ('change', 'named'),
        [
            (dict(type='LVISV1Dataset'), 'LVISV1Dataset'),
            (dict(data_root='s3://bucket/VOCdevkit'), 's3://bucket'),
            (dict(backend_args=dict(backend='petrel')), 'petrel'),
        ],
    )
    def test_what_cannot_be_checked_is_named(self, voc, caplog, change, named):
        cfg = dict(train_dataloader=dict(dataset={**voc.dataset_cfg(), **change}))
        report = check_dataset_cfgs(cfg)
        assert report.ok and report.images == 0
        [warning] = report.warnings
        assert 'NOT CHECKED' in warning and named in warning
        assert warning in caplog.text and warning in str(report)


class TestConfigs:
    def config(self, voc, **kwargs):
        voc.split('test', ['000003'])
        voc.split('trainval', ['000001', '000002'])
        test = dict(batch_size=1, dataset=voc.dataset_cfg('test', test_mode=True))
        return Config(
            dict(
                train_dataloader=dict(dataset=voc.dataset_cfg()),
                val_dataloader=test,
                test_dataloader=test,
                **kwargs,
            )
        )

    def test_distinct_sources_are_checked_once(self, voc):
        report = check_dataset_cfgs(self.config(voc))
        assert report.ok and not report.warnings
        assert [part.title for part in report.parts] == [
            'train VOC2007/trainval',
            'val+test VOC2007/test',
        ]
        assert (report.images, report.images_decoded, report.objects) == (3, 3, 6)
        assert 'train VOC2007/trainval: 2 images' in report.summary()
        assert '| images ' in str(report) and 'total' in str(report)

    def test_roles(self, voc):
        cfg = self.config(voc)
        assert check_dataset_cfgs(cfg, roles=('test',)).images == 1
        cfg.train_dataloader = None
        assert check_dataset_cfgs(cfg).images == 1
        with pytest.raises(DataCheckError, match="'trian'"):
            check_dataset_cfgs(cfg, roles=('trian',))

    def test_shared_problem_is_said_once(self, tmp_path):
        voc = VOCFolder(tmp_path / 'VOCdevkit')
        cfg = self.config(voc)
        for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
            loader.dataset.data_root = str(tmp_path / 'nowhere')
        only_problem(check_dataset_cfgs(cfg), 'no_data_root')

    def test_leakage_is_a_warning(self, voc):
        cfg = self.config(voc)
        voc.split('test', ['000002', '000003'])
        report = check_dataset_cfgs(cfg)
        assert report.ok
        [warning] = report.warnings
        assert warning.startswith('1 ids are both') and '000002' in warning

    def test_training_on_the_test_list_is_leakage(self, voc):
        sources = [voc.source(role='train'), voc.source(role='test')]
        report = check_sources(sources)
        assert len(report.parts) == 1
        assert report.warnings[0].startswith('3 ids are both')

    def test_train_and_val_of_other_folders_do_not_leak(self, tmp_path):
        first, second = VOCFolder(tmp_path / 'a'), VOCFolder(tmp_path / 'b')
        assert not check_sources([first.source(), second.source(role='test')]).warnings

    def test_data_check_options(self, voc):
        voc.xml('000001').write_text(xml(obj('zebra'), obj()))
        cfg = self.config(voc, data_check=dict(unknown_classes='ignore', decode='none'))
        report = check_dataset_cfgs(cfg)
        assert report.ok and report.images_decoded == 0
        assert check_dataset_cfgs(cfg, decode='full').images_decoded == 3
        report = check_dataset_cfgs(cfg, unknown_classes='error')
        assert report.num_problems == {'unknown_class': 1}

    @pytest.mark.parametrize('value', [None, False])
    def test_switching_off_is_loud(self, voc, caplog, value):
        cfg = self.config(voc, data_check=value)
        voc.image('000001').unlink()
        report = check_dataset_cfgs(cfg)
        assert report.ok and 'SWITCHED OFF' in report.warnings[0]
        assert 'THE DATA CHECK IS SWITCHED OFF' in caplog.text

    @pytest.mark.parametrize(
        'value',
        [
            dict(decod='full'),
            'off',
            dict(decode='all'),
            dict(sample_size=0),
            dict(unknown_classes='drop'),
        ],
    )
    def test_bad_data_check(self, voc, value):
        with pytest.raises(DataCheckError, match='got'):
            check_dataset_cfgs(self.config(voc, data_check=value))


class TestReport:
    def test_message_lists_the_first_of_each_kind(self):
        report = CheckReport('train x', commands=['python tools/check_voc.py x'], max_problems=4)
        for i in range(30):
            report.add('missing_xml', f'{i:03d}.xml', 'no such file')
        report.add('bad_xml', 'broken.xml', 'not XML: line 1')
        with pytest.raises(DataCheckError) as caught:
            report.raise_if_bad()
        message = str(caught.value)
        assert isinstance(caught.value, ValueError)
        assert '31 problem(s) in: train x' in message
        assert 'missing_xml: 30' in message and 'bad_xml: 1' in message
        assert '002.xml' in message and '003.xml' not in message and 'broken.xml' in message
        assert '... and 27 more' in message and 'python tools/check_voc.py x' in message
        assert '029.xml' in str(report)

    def test_json_is_written_whole(self, voc, tmp_path):
        voc.xml('000001').write_text('<')
        path = tmp_path / 'new' / 'report.json'
        report = check_sources([voc.source()])
        report.write_json(path)
        data = json.loads(path.read_text())
        assert data['ok'] is False and data['num_problems'] == {'bad_xml': 1}
        assert data['problems'][0]['path'] == str(voc.xml('000001'))
        assert data['parts'][0]['images'] == 3
        assert os.listdir(path.parent) == ['report.json']

    def test_failed_json_leaves_the_old_file(self, tmp_path):
        path = tmp_path / 'report.json'
        path.write_text('old')
        with pytest.raises(TypeError):
            CheckReport('x', warnings=[object()]).write_json(path)
        assert path.read_text() == 'old' and os.listdir(tmp_path) == ['report.json']


class TestTool:
    @pytest.fixture
    def main(self):
        path = REPO / 'tools' / 'check_voc.py'
        spec = importlib.util.spec_from_file_location('check_voc_tool', path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.main

    def test_folder(self, voc, main, capsys, tmp_path):
        args = ['--data-root', str(voc.root), '--split', 'trainval']
        assert main(args) == 0
        assert 'No problems found.' in capsys.readouterr().out
        voc.image('000001').write_bytes(b'no image')
        assert main([*args, '--json', str(tmp_path / 'out.json')]) == 1
        assert 'image_undecodable: 1' in capsys.readouterr().out
        assert json.loads((tmp_path / 'out.json').read_text())['images_decoded'] == 3
        assert main([*args, '--no-decode']) == 0

    def test_command_of_the_error_message_works(self, voc, main):
        voc.xml('000001').write_text(xml(obj('my class')))
        source = voc.source(classes=('dog', 'person', 'a b'))
        [command] = check_voc(source).commands
        run = [sys.executable, *shlex.split(command)[1:]]
        result = subprocess.run(run, cwd=REPO, capture_output=True, text=True, check=False)
        assert result.returncode == 1, result.stderr
        assert "'my class'" in result.stdout and 'a b' in result.stdout

    def test_config(self, voc, main, tmp_path, capsys):
        config = tmp_path / 'config.py'
        leaf = voc.dataset_cfg()
        config.write_text(
            "custom_imports = dict(imports=['not_there'], allow_failed_imports=False)\n"
            f'data_check = None\ntrain_dataloader = dict(dataset={leaf!r})\n'
        )
        assert main([str(config)]) == 0
        option = 'train_dataloader.dataset.ann_file=nowhere.txt'
        assert main([str(config), '--cfg-options', option]) == 1
        assert 'nowhere.txt' in capsys.readouterr().out
        config.write_text('data_check = dict(unknown_classes="ignore")\n' + config.read_text())
        assert main([str(tmp_path / 'none.py')]) == 1

    @pytest.mark.parametrize(
        'args', [[], ['x.py', '--data-root', 'y'], ['--data-root', 'y'], ['--cfg-options', 'a=1']]
    )
    def test_usage(self, main, args):
        with pytest.raises(SystemExit) as caught:
            main(args)
        assert caught.value.code == 2


@pytest.mark.real_data
@pytest.mark.skipif(
    'MMDET_MOBILENEXT_VOC' not in os.environ,
    reason='set MMDET_MOBILENEXT_VOC to a VOCdevkit folder to run',
)
@pytest.mark.parametrize('name', ['trainval', 'test'])
def test_published_voc2007_is_clean(name):
    root = os.path.join(os.environ['MMDET_MOBILENEXT_VOC'], 'VOC2007')
    ann_file = os.path.join(root, 'ImageSets', 'Main', f'{name}.txt')
    report = check_voc(VOCSource(root, ann_file, root), decode='sample')
    assert report.ok, str(report)
    assert report.objects > report.images > 0


def test_tool_moves_the_data_sets_of_a_config(tmp_path, capsys):
    """``--cfg-options data_root=...``, which the hint of a missing data root recommends."""
    import importlib.util
    from pathlib import Path

    from small_voc import ROOT, make_small_voc

    root = make_small_voc(tmp_path / 'VOCdevkit', train=2, val=1, test=1)
    spec = importlib.util.spec_from_file_location('check_voc', Path(ROOT, 'tools', 'check_voc.py'))
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    config = str(ROOT / 'configs' / 'ssdlite_mobilenext_demo.py')
    assert tool.main([config, '--cfg-options', f'data_root={root}']) == 0
    assert tool.main([config, '--cfg-options', f'data_root={tmp_path}/nowhere']) == 1
    assert 'nowhere' in capsys.readouterr().out
