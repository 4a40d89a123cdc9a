# SPDX-License-Identifier: Apache-2.0
"""What is found out before any run: broken configs, other data, mixed folders."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from small_benchmark import write_config, write_pair
from small_voc import make_small_voc

from mmdet_mobilenext.benchmark.errors import BenchmarkError, MixedRunsError
from mmdet_mobilenext.benchmark.fingerprint import (
    config_digest,
    data_fingerprint,
    differences,
    file_digests,
    flatten_config,
)
from mmdet_mobilenext.benchmark.folder import prepare_folder, read_json, stamp, write_json
from mmdet_mobilenext.benchmark.options import compare_from_options
from mmdet_mobilenext.benchmark.plan import make_plan, unique_names
from mmdet_mobilenext.checkpoints.strict import CheckpointKeyError
from mmdet_mobilenext.datasets.checks import DataCheckError


@pytest.fixture(scope='module')
def voc(tmp_path_factory):
    return make_small_voc(tmp_path_factory.mktemp('voc'), train=6, val=2, test=4)


@pytest.fixture(scope='module')
def pair(voc, tmp_path_factory):
    folder = tmp_path_factory.mktemp('configs')
    return list(map(str, write_pair(folder, voc)))


@pytest.fixture(scope='module')
def plan(pair, tmp_path_factory):
    return make_plan(pair, tmp_path_factory.mktemp('plan'), seeds=(0, 1))


def save_weights(config: str, path: Path, classes=None, **changes) -> str:
    cfg = Config.fromfile(config)
    cfg.merge_from_dict(changes)
    meta = {} if classes is None else dict(dataset_meta=dict(classes=classes))
    torch.save(dict(meta=meta, state_dict=MODELS.build(cfg.model).state_dict()), path)
    return str(path)


class TestPlan:
    def test_names_order_and_data(self, plan):
        assert [m.name for m in plan.models] == ['small_mobilenetv2', 'small_mobilenext']
        assert [m.backbone for m in plan.models] == ['MobileNetV2', 'MobileNeXt']
        assert plan.data['test']['images'] == 4 and plan.data['train']['images'] == 6
        assert plan.trained_here and len(plan.classes) == 8

    def test_one_config_is_no_comparison(self, pair, tmp_path):
        with pytest.raises(BenchmarkError, match='two configs or more'):
            make_plan(pair[:1], tmp_path)

    @pytest.mark.parametrize('seeds', [(), (1, 1), (-1,)])
    def test_seeds(self, pair, tmp_path, seeds):
        with pytest.raises(BenchmarkError, match='seeds must be'):
            make_plan(pair, tmp_path, seeds=seeds)

    def test_missing_config(self, pair, tmp_path):
        with pytest.raises(FileNotFoundError, match=r'nothing\.py'):
            make_plan([pair[0], 'nothing.py'], tmp_path)

    def test_one_broken_among_three(self, pair, voc, tmp_path):
        more = 'model = dict(backbone=dict(out_indices=(3, 99)))'
        broken = write_config(tmp_path, voc, more=more)
        with pytest.raises(BenchmarkError, match=f'{broken}.*cannot be built.*99'):
            make_plan([*pair, str(broken)], tmp_path)
        assert not (tmp_path / 'runs').exists()

    def test_other_number_of_classes(self, pair, voc, tmp_path):
        other = write_config(tmp_path, voc, more='model = dict(bbox_head=dict(num_classes=20))')
        with pytest.raises(ValueError, match='num_classes=20'):
            make_plan([pair[0], str(other)], tmp_path)

    @pytest.mark.parametrize('role', ['train', 'test'])
    def test_other_data_is_refused(self, pair, voc, tmp_path, role):
        more = f"{role}_dataloader = dict(dataset=dict(ann_file='VOC2007/ImageSets/Main/val.txt'))"
        other = write_config(tmp_path, voc, more=more)
        with pytest.raises(BenchmarkError, match=f'same {role} data.*small_mobilenext'):
            make_plan([pair[0], str(other)], tmp_path)

    def test_other_augmentation_is_no_other_data(self, pair, voc, tmp_path):
        more = 'train_dataloader = dict(dataset=dict(pipeline=[]))'
        other = write_config(tmp_path, voc, more=more)
        assert make_plan([pair[0], str(other)], tmp_path).data['train']['images'] == 6

    def test_empty_test_set(self, pair, voc, tmp_path):
        root = tmp_path / 'voc'
        shutil.copytree(voc, root)
        (root / 'VOC2007' / 'ImageSets' / 'Main' / 'test.txt').write_text('')
        with pytest.raises((BenchmarkError, DataCheckError), match=r'empty|test.txt'):
            make_plan(pair, tmp_path, cfg_options=dict(data_root=str(root)))

    @pytest.mark.parametrize('value', ['lambda x: x', '__import__("numpy").float64'])
    def test_what_cannot_be_written(self, pair, voc, tmp_path, value):
        other = write_config(tmp_path, voc, more=f'model = dict(test_cfg=dict(extra={value}))')
        with pytest.raises(
            BenchmarkError, match=r'small_mobilenext\.py holds something that cannot'
        ):
            make_plan([pair[0], str(other)], tmp_path)

    def test_without_checkpoints(self, pair, voc, tmp_path):
        other = write_config(tmp_path, voc, more='default_hooks = dict(checkpoint=None)')
        with pytest.raises(BenchmarkError, match='switches checkpoints off'):
            make_plan([pair[0], str(other)], tmp_path)

    def test_classes_in_a_file(self, pair, voc, tmp_path):
        names = make_plan(pair, tmp_path).classes
        (tmp_path / 'classes.txt').write_text('\n'.join(names))
        more = (
            f"test_dataloader = dict(dataset=dict(metainfo=dict(classes='{tmp_path}/classes.txt')))"
        )
        configs = list(map(str, write_pair(tmp_path, voc, more)))
        assert make_plan(configs, tmp_path).classes == names

    def test_generated_data_is_made(self, voc, tmp_path):
        root = tmp_path / 'made'
        more = 'generated_splits = dict(_delete_=True, train=3, val=1, test=2)'
        configs = list(map(str, write_pair(tmp_path, root, more)))
        assert make_plan(configs, tmp_path / 'wd').data['test']['images'] == 2
        assert (root / 'VOC2007' / 'JPEGImages').is_dir()


class TestCheckpoints:
    def test_number(self, pair, tmp_path):
        with pytest.raises(BenchmarkError, match=r'need 4 checkpoints.*received 2'):
            make_plan(pair, tmp_path, seeds=(0, 1), checkpoints=['a.pth', 'b.pth'])

    def test_missing(self, pair, tmp_path):
        with pytest.raises(FileNotFoundError, match=r'a\.pth'):
            make_plan(pair, tmp_path, checkpoints=['a.pth', 'b.pth'])

    def test_of_another_model(self, pair, tmp_path):
        files = [save_weights(pair[0], tmp_path / f'{i}.pth') for i in range(2)]
        with pytest.raises(CheckpointKeyError, match=r'1\.pth.*small_mobilenext'):
            make_plan(pair, tmp_path, checkpoints=files)

    def test_of_another_number_of_classes(self, pair, tmp_path):
        files = [save_weights(pair[0], tmp_path / '0.pth')]
        other = {'model.bbox_head.num_classes': 20}
        files.append(save_weights(pair[1], tmp_path / '1.pth', **other))
        with pytest.raises(CheckpointKeyError, match='another shape'):
            make_plan(pair, tmp_path, checkpoints=files)

    def test_of_other_classes(self, pair, tmp_path):
        files = [save_weights(pair[0], tmp_path / '0.pth')]
        files.append(save_weights(pair[1], tmp_path / '1.pth', classes=tuple('abcdefgh')))
        with pytest.raises(BenchmarkError, match=r"1\.pth was trained on the classes \('a'"):
            make_plan(pair, tmp_path, checkpoints=files)

    def test_other_weights_in_the_same_folder(self, pair, tmp_path):
        files = [save_weights(c, tmp_path / f'{i}.pth') for i, c in enumerate(pair)]
        plan = make_plan(pair, tmp_path / 'wd', checkpoints=files)
        assert set(plan.data) == {'test'} and not plan.trained_here
        folders = prepare_folder(plan)
        folders[1].predictions.write_bytes(b'')
        torch.manual_seed(7)
        save_weights(pair[1], tmp_path / '1.pth')
        with pytest.raises(MixedRunsError, match='another checkpoint: checkpoint_sha256'):
            prepare_folder(plan)


class TestFolder:
    def begin(self, plan, folder):
        """A folder in which one run has got as far as its first checkpoint."""
        first = prepare_folder(replace(plan, folder=folder))[0]
        (first.path / 'last_checkpoint').write_text('epoch_1.pth')

    def test_nothing_to_mix_yet(self, plan, tmp_path):
        prepare_folder(replace(plan, folder=tmp_path))
        prepare_folder(replace(plan, folder=tmp_path, threads=2))
        assert read_json(tmp_path / 'benchmark.json')['protocol']['threads'] == 2

    def test_same_again_and_more_seeds(self, plan, tmp_path):
        plan = replace(plan, folder=tmp_path)
        first = prepare_folder(plan)
        assert [f.title for f in first] == [
            f'small_{m} seed {s}' for m in ('mobilenetv2', 'mobilenext') for s in (0, 1)
        ]
        assert prepare_folder(plan) == first
        assert len(prepare_folder(replace(plan, seeds=(0, 1, 2)))) == 6
        assert Config.fromfile(first[1].config).randomness.seed == 1

    def test_no_manifest(self, plan, tmp_path):
        self.begin(plan, tmp_path)
        (tmp_path / 'benchmark.json').unlink()
        with pytest.raises(MixedRunsError, match=r'no benchmark\.json that says of what'):
            prepare_folder(replace(plan, folder=tmp_path))

    def test_checkpoint_that_nothing_names_yet(self, plan, tmp_path):
        first = prepare_folder(replace(plan, folder=tmp_path))[0]
        (first.path / 'epoch_1.pth').write_bytes(b'')
        with pytest.raises(MixedRunsError, match='protocol: threads'):
            prepare_folder(replace(plan, folder=tmp_path, threads=2))

    def test_run_that_began_with_other_code(self, plan, tmp_path):
        """As a job in a queue does, whose folder was prepared anew meanwhile."""
        self.begin(plan, tmp_path)
        first = prepare_folder(replace(plan, folder=tmp_path))[0]
        now = stamp(Config.fromfile(first.config))
        write_json(dict(stamp=now), first.done)
        prepare_folder(replace(plan, folder=tmp_path))
        write_json(dict(stamp={**now, 'code': 'old'}), first.done)
        with pytest.raises(MixedRunsError, match=r'other settings or code.*code: old -> '):
            prepare_folder(replace(plan, folder=tmp_path))

    def test_other_code(self, plan, tmp_path):
        self.begin(plan, tmp_path)
        other = replace(plan, folder=tmp_path, code={**plan.code, 'torch': '9.9'})
        with pytest.raises(MixedRunsError, match=r'code: torch: .* -> 9\.9'):
            prepare_folder(other)

    def test_other_data(self, plan, tmp_path):
        self.begin(plan, tmp_path)
        data = {**plan.data, 'test': {**plan.data['test'], 'digest': 'other'}}
        with pytest.raises(MixedRunsError, match=r'test data: digest: .* -> other'):
            prepare_folder(replace(plan, folder=tmp_path, data=data))

    def test_other_config(self, plan, tmp_path):
        self.begin(plan, tmp_path)
        cfg = Config(plan.models[1].cfg.to_dict())
        cfg.optim_wrapper.optimizer.lr = 0.5
        models = (plan.models[0], replace(plan.models[1], cfg=cfg))
        message = r'config small_mobilenext: optim_wrapper\.optimizer\.lr: 0\.003 -> 0\.5'
        with pytest.raises(MixedRunsError, match=message):
            prepare_folder(replace(plan, folder=tmp_path, models=models))

    def test_other_threads(self, plan, tmp_path):
        self.begin(plan, tmp_path)
        with pytest.raises(MixedRunsError, match='protocol: threads: 1 -> 2'):
            prepare_folder(replace(plan, folder=tmp_path, threads=2))

    def test_refusal_changes_nothing(self, plan, tmp_path):
        self.begin(plan, tmp_path)
        before = {p: p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()}
        with pytest.raises(MixedRunsError):
            prepare_folder(replace(plan, folder=tmp_path, threads=2, seeds=(0, 1, 2)))
        assert {p: p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()} == before

    def test_damaged_file_is_named(self, tmp_path):
        (tmp_path / 'x.json').write_text('{"half')
        with pytest.raises(MixedRunsError, match=r'x\.json is damaged'):
            read_json(tmp_path / 'x.json')


class TestFingerprint:
    def test_where_it_runs_does_not_matter(self, pair):
        one, two = Config.fromfile(pair[0]), Config.fromfile(pair[0])
        two.work_dir, two.launcher, two.data_root = 'elsewhere', 'pytorch', 'elsewhere'
        two.train_dataloader.dataset.data_root = 'elsewhere'
        assert config_digest(one) == config_digest(two)

    def test_any_other_leaf_matters(self, pair):
        one, two = Config.fromfile(pair[0]), Config.fromfile(pair[0])
        two.train_dataloader.dataset.pipeline[0].transforms[3].min_crop_size = 0.4
        assert config_digest(one) != config_digest(two)
        found = differences(flatten_config(one), flatten_config(two))
        place = 'train_dataloader.dataset.pipeline.0.transforms.3.min_crop_size'
        assert found == [f'{place}: 0.5 -> 0.4']

    def test_files_that_a_config_names(self, tmp_path, monkeypatch):
        (tmp_path / 'my_backbone.py').write_text('width = 1')
        (tmp_path / 'w.pth').write_bytes(b'1')
        monkeypatch.syspath_prepend(str(tmp_path))
        cfg = Config(
            dict(
                custom_imports=dict(imports=['my_backbone', 'mmdet_mobilenext']),
                model=dict(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'w.pth'))),
            )
        )
        before = file_digests(cfg)
        assert len(before) == 2
        (tmp_path / 'my_backbone.py').write_text('width = 2')
        (tmp_path / 'w.pth').write_bytes(b'2')
        assert len(differences(before, file_digests(cfg))) == 2

    @pytest.mark.parametrize('change', ['box', 'image', 'difficult', 'order'])
    def test_data(self, pair, voc, tmp_path, change):
        root = tmp_path / 'voc'
        shutil.copytree(voc, root)
        cfg = Config.fromfile(pair[0])
        cfg.test_dataloader.dataset.data_root = str(root)
        before = data_fingerprint(cfg, 'test')
        assert before == data_fingerprint(Config.fromfile(pair[0]), 'test')
        split = root / 'VOC2007' / 'ImageSets' / 'Main' / 'test.txt'
        name = split.read_text().split()[0]
        xml = root / 'VOC2007' / 'Annotations' / f'{name}.xml'
        if change == 'image':
            with open(root / 'VOC2007' / 'JPEGImages' / f'{name}.jpg', 'ab') as file:
                file.write(b'\0')
        elif change == 'box':
            text = xml.read_text()
            value = text.split('<xmax>')[1].split('<')[0]
            xml.write_text(text.replace(f'<xmax>{value}<', f'<xmax>{int(value) - 1}<', 1))
        elif change == 'difficult':
            text = xml.read_text()
            xml.write_text(text.replace('<difficult>0<', '<difficult>1<', 1))
        else:
            split.write_text('\n'.join(reversed(split.read_text().split())) + '\n')
        after = data_fingerprint(cfg, 'test')
        assert after['digest'] != before['digest']
        if change == 'difficult':
            assert after['difficult'] == before['difficult'] + 1
            assert after['objects'] == before['objects'] - 1

    def test_unique_names_do_not_collide(self):
        assert unique_names(['x.py', 'x-2.py', 'd/x.py']) == ['x', 'x-2', 'x-3']


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(jobs=0), '--jobs must be at least 1'),
        (dict(latency_runs=0), '--latency-runs must be'),
        (dict(processes=2), '--processes 2 needs --launcher'),
        (dict(cluster_options=dict(a=1)), 'needs --cluster'),
        (dict(cluster='local', jobs=2), 'the scheduler decides'),
    ],
)
def test_options_that_do_not_go_together(options, message):
    with pytest.raises(BenchmarkError, match=message):
        compare_from_options(['a.py', 'b.py'], 'nowhere', **options)


def test_manifest_is_readable(plan, tmp_path):
    prepare_folder(replace(plan, folder=tmp_path))
    manifest = json.loads((tmp_path / 'benchmark.json').read_text())
    assert sorted(manifest) == ['code', 'data', 'format', 'models', 'protocol']
