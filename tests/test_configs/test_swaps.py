# SPDX-License-Identifier: Apache-2.0
"""A backbone swap in one line, and configs by the name of the package."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import mmdet
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.runner import Runner
from small_voc import ROOT, environment, make_small_voc, run_tool

from mmdet_mobilenext.config_files import resolve_config
from mmdet_mobilenext.engine.config import load_config
from mmdet_mobilenext.engine.environment import OptionError

OPTIONS = ROOT / 'configs' / '_base_' / 'options'
FPN = [
    'retinanet/retinanet_r50_fpn_1x_coco.py',
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    # its images were not RGB and its std was one
    'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    'atss/atss_r50_fpn_1x_coco.py',
]
PAFPN = ['yolox/yolox_tiny_8xb8-300e_coco.py', 'rtmdet/rtmdet_tiny_8xb32-300e_coco.py']
SMALL = 'mmdet_mobilenext::retinanet/retinanet_mobilenext_fpn_small160_voc07.py'


def own_config(folder, text):
    path = folder / 'mine.py'
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize('backbone', ['mobilenext', 'mobilenetv2'])
@pytest.mark.parametrize('name', FPN + PAFPN)
def test_swap_in_a_config_of_mmdetection(name, backbone, tmp_path):
    fragment = f'{backbone}_{"fpn" if name in FPN else "pafpn"}'
    given = get_config(f'mmdet::{name}')
    cfg = load_config(f'mmdet::{name}', fragments=[fragment], fragment_folder=str(OPTIONS))
    # the backbone is new, its inputs fit it, and the rest is as it was
    changed = {key for key in given.model if cfg.model[key] != given.model[key]}
    assert changed == {'backbone', 'neck', 'data_preprocessor'} - (
        {'data_preprocessor'}
        if given.model.data_preprocessor == cfg.model.data_preprocessor
        else set()
    )
    assert {k for k in given.model.neck if cfg.model.neck[k] != given.model.neck[k]} == {
        'in_channels'
    }
    assert cfg.model.data_preprocessor.mean == [123.675, 116.28, 103.53]
    assert cfg.model.data_preprocessor.bgr_to_rgb
    assert cfg.optim_wrapper == given.optim_wrapper
    # in a config of one's own: the same model
    path = own_config(
        tmp_path,
        f"_base_ = ['mmdet::{name}', 'mmdet_mobilenext::_base_/backbones/{fragment}.py']\n"
        f'model = {{{{_base_.{fragment}}}}}\n',
    )
    own = Config.fromfile(path)

    def plain(node):
        if isinstance(node, dict):
            return {k: plain(v) for k, v in node.items() if k not in ('_scope_', '_delete_')}
        return node

    assert plain(own.model.to_dict()) == plain(cfg.model.to_dict())
    # the neck's levels have the strides that the head expects
    detector = MODELS.build(own.model).eval()
    with torch.no_grad():
        features = detector.extract_feat(torch.rand(1, 3, 128, 128))
    head = detector.rpn_head if hasattr(detector, 'rpn_head') else detector.bbox_head
    expected = [s if isinstance(s, int) else s[0] for s in head.prior_generator.strides]
    assert [128 // f.shape[-1] for f in features] == expected


@pytest.mark.parametrize(
    ('name', 'fragment', 'said'),
    [
        (FPN[0], 'mobilenext_pafpn', 'FPN .* takes 4 levels.*: take one of .*mobilenext_fpn'),
        (PAFPN[0], 'mobilenext_fpn', 'YOLOXPAFPN .* takes 3 levels.*one of .*mobilenext_pafpn'),
        ('ssd/ssd300_coco.py', 'mobilenext_fpn', 'SSDNeck .* takes 2 levels.*no fragment'),
        ('yolof/yolof_r50-c5_8xb8-1x_coco.py', 'mobilenext_fpn', 'takes one level.*no fragment'),
        ('faster_rcnn/faster-rcnn_r50-caffe-c4_ms-1x_coco.py', 'mobilenetv2_fpn', 'has none'),
        ('dyhead/atss_r50_fpn_dyhead_1x_coco.py', 'mobilenext_fpn', 'has none in one piece'),
    ],
)
def test_fragment_for_another_neck_is_refused(name, fragment, said):
    with pytest.raises(OptionError, match=said):
        load_config(f'mmdet::{name}', fragments=[fragment], fragment_folder=str(OPTIONS))


def test_two_backbones_at_once_are_refused():
    with pytest.raises(OptionError, match='mobilenext_fpn and mobilenetv2_fpn do not go together'):
        load_config(
            f'mmdet::{FPN[0]}',
            fragments=['mobilenext_fpn', 'mobilenetv2_fpn'],
            fragment_folder=str(OPTIONS),
        )


def test_configs_of_the_package_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = Config.fromfile(
        ROOT / 'configs/retinanet/retinanet_mobilenext_fpn_small160_voc07.py'
    )
    assert get_config(SMALL).to_dict() == expected.to_dict()
    assert load_config(SMALL).model == expected.model
    assert Path(resolve_config('mmdet_mobilenext::ssdlite_mobilenext_voc.py')).samefile(
        ROOT / 'configs/ssdlite_mobilenext_voc.py'
    )


def test_own_config_inherits_and_runs_in_its_scope(tmp_path, monkeypatch):
    """mmengine builds parts of such a config in the scope of the package's name."""
    monkeypatch.chdir(tmp_path)
    voc = make_small_voc(tmp_path / 'VOCdevkit', train=2, val=2, test=2)
    path = own_config(
        tmp_path,
        # mmengine wants a folder after the colons
        "_base_ = 'mmdet_mobilenext::_base_/../ssdlite_mobilenext_small160_voc07.py'\n"
        'model = dict(backbone=dict(frozen_stages=2))\n'
        'custom_hooks = [_base_.default_hooks.strict_load]\n',
    )
    cfg = load_config(path, {'data_root': str(voc), 'work_dir': str(tmp_path / 'run')})
    assert cfg.model._scope_ == cfg.train_cfg._scope_ == 'mmdet_mobilenext'
    assert cfg.custom_hooks[0]._scope_ == 'mmdet_mobilenext'
    runner = Runner.from_cfg(cfg)
    assert type(runner.model).__name__ == 'SingleStageDetector'
    assert type(runner.model.backbone).__name__ == 'MobileNeXt'
    assert {'AtomicCheckpointHook', 'InitialWeightsHook', 'PictureHook'} <= {
        type(hook).__name__ for hook in runner.hooks
    }
    batch = next(iter(Runner.build_dataloader(cfg.val_dataloader)))
    assert len(batch['inputs']) == 2


@pytest.mark.parametrize(
    ('name', 'said'),
    [
        ('mmdet_mobilenext::retinanet/nothing.py', 'retinanet_mobilenext_fpn_1x_coco.py'),
        ('mmdet_mobilenext::nowhere/nothing.py', 'beside it there is nothing'),
        ('mmdet::retinanet/nothing.py', 'nothing.py'),
        (
            'mmdet::retinanet/retinanet_r50_fpn_1x.py',
            r'retinanet_r50_fpn_1x_coco.py.* and \d+ more$',
        ),
        ('unknown::retinanet/nothing.py', "no package 'unknown', only .*mmdet"),
        ('mmdet::nothing.py', 'beside it there is .*/, .*/'),
        ('mmdet::', "no config '' in mmdet .* beside it there is _base_/, "),
        ('::', "no package ''"),
    ],
)
def test_config_that_is_not_there_is_named(name, said):
    with pytest.raises(FileNotFoundError, match=said):
        load_config(name)


def test_evaluator_moves_with_the_data():
    """COCO's metric reads the annotations from a path of its own."""
    moved = {'data_root': 'x/y'}
    cfg = load_config('mmdet_mobilenext::yolox/yolox_mobilenext_tiny_300e_coco.py', moved)
    assert cfg.train_dataloader.dataset.dataset.data_root == 'x/y'
    for part in (cfg.val_evaluator, cfg.test_evaluator):
        assert part.ann_file == 'x/y/annotations/instances_val2017.json'
    cfg = load_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py', moved)
    assert cfg.test_evaluator.ann_file == 'x/y/annotations/instances_val2017.json'


def test_missing_coco_is_said_once_before_the_run(configs, monkeypatch):
    from mmdet_mobilenext.datasets.checks import check_dataset_cfgs

    monkeypatch.setenv('COCO_DATA_ROOT', 'nowhere/coco')
    cfg = Config.fromfile(configs / 'retinanet/retinanet_mobilenext_fpn_1x_coco.py')
    (problem,) = check_dataset_cfgs(cfg, roles=('train', 'val')).problems
    assert (problem.kind, problem.path) == ('no_data_root', 'nowhere/coco')
    assert 'COCO_DATA_ROOT' in problem.hint


def small_options(voc):
    loaders = ('train_dataloader', 'val_dataloader', 'test_dataloader')
    return [
        f'data_root={voc}',
        'train_cfg.max_epochs=1',
        'train_cfg.val_interval=1',
        'train_dataloader.batch_size=4',
        *(f'{loader}.num_workers=0' for loader in loaders),
        *(f'{loader}.persistent_workers=False' for loader in loaders),
    ]


@pytest.mark.slow
def test_two_lines_of_config_train_in_a_fresh_folder(tmp_path):
    voc = make_small_voc(tmp_path / 'VOCdevkit', train=4, val=2, test=2)
    lists = voc / 'VOC2007' / 'ImageSets' / 'Main'
    shutil.copy(lists / 'train.txt', lists / 'trainval.txt')
    (voc / 'VOC2012').symlink_to('VOC2007')
    own_config(
        tmp_path,
        "_base_ = 'mmdet_mobilenext::gfl/gfl_mobilenext_fpn96_1x_voc0712.py'\n"
        'model = dict(backbone=dict(frozen_stages=2))\n',
    )
    sizes = [
        'train_dataloader.dataset.datasets.0.pipeline.2.scale=(128,128)',
        'train_dataloader.dataset.datasets.1.pipeline.2.scale=(128,128)',
        'val_dataloader.dataset.pipeline.1.scale=(128,128)',
        'test_dataloader.dataset.pipeline.1.scale=(128,128)',
    ]
    done = run_tool(
        'train.py', 'mine.py', '--cfg-options', *small_options(voc), *sizes, cwd=tmp_path
    )
    output = done.stdout + done.stderr
    for part in ('train 8 images', 'batch 4', '2 iterations', 'FROM SCRATCH', 'pascal_voc/mAP'):
        assert part in output
    assert (tmp_path / 'work_dirs/mine/epoch_1.pth').is_file()
    assert list((tmp_path / 'work_dirs/mine').glob('best_pascal_voc_mAP_*.pth'))


@pytest.mark.slow
def test_mmdetection_s_own_tool_trains_a_swapped_config(tmp_path):
    """It reads the config before anything imports this package."""
    voc = make_small_voc(tmp_path / 'VOCdevkit', train=8, val=2, test=2)
    options = dict(option.split('=') for option in small_options(voc))
    own_config(
        tmp_path,
        "_base_ = __import__('mmdet_mobilenext').config_file(\n"
        f"    '{SMALL.partition('::')[2]}'\n)\n",
    )
    for part in ('train', 'val', 'test'):
        options[f'{part}_dataloader.dataset.data_root'] = voc
    tool = Path(mmdet.__path__[0]) / '.mim' / 'tools' / 'train.py'
    done = subprocess.run(
        [sys.executable, tool, 'mine.py', '--cfg-options']
        + [f'{key}={value}' for key, value in options.items()],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / 'work_dirs/mine/epoch_1.pth').is_file()


@pytest.mark.slow
def test_wheel_has_configs_and_tools(tmp_path):
    source = tmp_path / 'source'
    shutil.copytree(
        ROOT,
        source,
        symlinks=True,
        ignore=lambda folder, names: [
            name
            for name in names
            if folder == str(ROOT)
            and name not in ('configs', 'mmdet_mobilenext', 'tools')
            and not Path(folder, name).is_file()
        ],
    )
    build = [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation']
    subprocess.run([*build, '-w', tmp_path, source], check=True, capture_output=True)
    (wheel,) = tmp_path.glob('*.whl')
    installed = tmp_path / 'installed'
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    mim = installed / 'mmdet_mobilenext' / '.mim'
    packed, kept = (
        sorted(
            str(path.relative_to(folder))
            for path in folder.rglob('*.py')
            if '__pycache__' not in path.parts
        )
        for folder in (mim / 'configs', ROOT / 'configs')
    )
    assert packed == kept
    own_config(tmp_path, f"_base_ = '{SMALL}'\n")
    tools = mim / 'tools'
    assert (tools / 'train.py').is_file() and not (tools / 'setup_env.py').exists()
    code = (
        'import runpy, sys, mmdet_mobilenext\n'
        'from mmengine.config import Config\n'
        'from mmengine.hub import get_config\n'
        "assert get_config('mmdet_mobilenext::gfl/gfl_mobilenext_fpn96_1x_coco.py')\n"
        "print(mmdet_mobilenext.__file__, Config.fromfile('mine.py').model.backbone.type)\n"
        f"sys.argv = ['weights.py', 'list']; runpy.run_path({str(tools / 'weights.py')!r}, "
        "run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(installed)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f'{installed}/mmdet_mobilenext/__init__.py MobileNeXt' in done.stdout
    assert 'mobilenext_1.0_in1k' in done.stdout
