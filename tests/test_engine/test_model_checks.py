# SPDX-License-Identifier: Apache-2.0
"""What is found out about model, classes and checkpoint before a run writes anything."""

from unittest.mock import Mock

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from small_voc import ROOT, make_small_voc

from mmdet_mobilenext.checkpoints.strict import CheckpointKeyError
from mmdet_mobilenext.engine.class_checks import check_num_classes
from mmdet_mobilenext.engine.config import hooks_of_type, load_config
from mmdet_mobilenext.engine.environment import OptionError
from mmdet_mobilenext.engine.model_checks import build_model, check_levels
from mmdet_mobilenext.engine.test import test as run_test
from mmdet_mobilenext.engine.train import train

CONFIG = str(ROOT / 'configs/ssdlite_mobilenext_demo.py')
ANCHORS = dict(type='AnchorGenerator', scales=[8], ratios=[1.0], strides=[8, 16, 32, 64, 128])
HEADS = {
    'RetinaHead': dict(anchor_generator=ANCHORS),
    'RPNHead': dict(anchor_generator=dict(ANCHORS, strides=[4, 8, 16, 32, 64])),
    'FCOSHead': dict(norm_cfg=None),
    'YOLOXHead': dict(strides=[8, 16, 32]),
}


def detector(head, out_indices, start_level, num_outs=5):
    """A detector on narrow MobileNeXt with an FPN."""
    backbone = dict(type='MobileNeXt', widen_factor=0.1, out_indices=out_indices)
    channels = [f['channels'] for f in MODELS.build(backbone).feature_info]
    neck = dict(
        type='FPN', in_channels=channels, out_channels=8, start_level=start_level,
        add_extra_convs='on_output', num_outs=num_outs,
    )  # fmt: skip
    head = dict(type=head, in_channels=8, feat_channels=8, num_classes=1, **HEADS[head])
    if head['type'] == 'RPNHead':
        rest = dict(
            type='RPN', rpn_head=head, train_cfg=dict(rpn=dict()), test_cfg=dict(rpn=dict())
        )
    else:
        rest = dict(type='SingleStageDetector', bbox_head=head)
    return build_model(Config(dict(model=dict(backbone=backbone, neck=neck, **rest))))


FOUR, THREE = (1, 2, 4, 7), (2, 4, 7)


@pytest.mark.parametrize(
    ('head', 'levels'),
    [
        ('RetinaHead', (FOUR, 1)),
        ('RPNHead', (FOUR, 0)),
        ('FCOSHead', (FOUR, 0)),
        ('YOLOXHead', (THREE, 0, 3)),
    ],
)
def test_priors_of_the_levels_are_accepted(head, levels):
    check_levels(detector(head, *levels))


@pytest.mark.parametrize(
    ('head', 'levels', 'said'),
    [
        ('RetinaHead', (THREE, 1), 'strides 16, 32, .*256, but .* RetinaHead .* strides 8, 16, '),
        ('RPNHead', (THREE, 0), 'strides 8, 16, 32, 64, 128, but .* RPNHead .* strides 4, 8,'),
        ('FCOSHead', (THREE, 0), 'strides 8, 16, .* FCOSHead .* strides 4, 8,'),
        ('YOLOXHead', (FOUR, 0, 4), 'strides 4, 8, 16, 32, but .* strides 8, 16, 32: .*pafpn: 3'),
    ],
)  # fmt: skip
def test_priors_of_other_levels_are_refused(head, levels, said):
    with pytest.raises(OptionError, match=said):
        check_levels(detector(head, *levels))


def test_norms_over_processes_are_built_before_the_processes_have_met():
    model = dict(type='MobileNeXt', widen_factor=0.1, norm_cfg=dict(type='MMSyncBN'))
    with pytest.raises(OptionError, match='process group'):
        build_model(Config(dict(model=model)))
    built = build_model(Config(dict(model=model, launcher='pytorch')))
    assert built(torch.zeros(1, 3, 32, 32)) and not torch.distributed.is_initialized()


@pytest.mark.parametrize('in_channels', [[8, 16, 24, 32], [144, 192, 384]])
def test_a_neck_for_other_channels_is_refused(in_channels):
    model = detector('RetinaHead', FOUR, 1)
    given = model.neck.in_channels
    neck = dict(type='FPN', in_channels=in_channels, out_channels=8, num_outs=5, start_level=1)
    model.neck = MODELS.build(neck)
    with pytest.raises(OptionError) as caught:
        check_levels(model)
    said = f'MobileNeXt of the config hands out levels of {given} channels, but its FPN takes '
    assert said + f'in_channels={in_channels}' in str(caught.value)


def test_strides_need_not_be_whole_numbers():
    model = detector('RetinaHead', FOUR, 1)
    # as YOLACT has them
    model.bbox_head.prior_generator.strides = [(550 / n, 550 / n) for n in (69, 35, 18, 9, 5)]
    check_levels(model)


def test_looking_at_a_model_draws_no_numbers():
    cfg = load_config(CONFIG)
    cfg.model.backbone.widen_factor = -1
    state = torch.get_rng_state()
    with pytest.raises(OptionError, match=r'cannot be built: .*widen_factor'):
        build_model(cfg)
    assert torch.equal(state, torch.get_rng_state())


def model_of(head, dataset):
    return Config(dict(model=head, train_dataloader=dict(dataset=dataset)))


COCO = dict(type='CocoDataset', ann_file='no.json')
CASCADE = [dict(num_classes=20)] * 3


@pytest.mark.parametrize(
    ('model', 'dataset', 'said'),
    [
        (dict(bbox_head=dict(num_classes=20)), COCO, 'num_classes=20.*CocoDataset no.json has 80'),
        (dict(roi_head=dict(bbox_head=CASCADE)), COCO, 'num_classes=20.*80 classes'),
        (
            dict(bbox_head=dict(num_classes=80)),
            dict(
                type='MultiImageMixDataset', dataset=dict(COCO, metainfo=dict(classes=('a', 'b')))
            ),
            r"num_classes=80.*2 classes \('a', 'b'\)",
        ),
        (
            dict(roi_head=dict(bbox_head=[*CASCADE, dict(num_classes=80)])),
            COCO,
            r'num_classes=\[20, 20, 20, 80\]',
        ),
    ],
)
def test_other_number_of_classes_is_named(model, dataset, said):
    with pytest.raises(OptionError, match=said):
        check_num_classes(model_of(model, dataset), ('train',))


@pytest.mark.parametrize(
    ('model', 'dataset'),
    [
        (dict(bbox_head=dict(num_classes=80)), COCO),
        # things and stuff; the heads know the things alone
        (dict(roi_head=dict(bbox_head=dict(num_classes=80))), dict(type='CocoPanopticDataset')),
        (dict(language_model=dict(), bbox_head=dict(num_classes=256)), COCO),
        (dict(bbox_head=dict(num_classes=601)), dict(type='OpenImagesDataset')),
    ],
)
def test_classes_that_fit_or_are_not_known_are_accepted(model, dataset):
    check_num_classes(model_of(model, dataset), ('train',))


@pytest.fixture(scope='module')
def voc(tmp_path_factory):
    return make_small_voc(tmp_path_factory.mktemp('voc') / 'VOCdevkit', train=2, val=1, test=1)


@pytest.fixture
def no_hooks(voc, tmp_path):
    """A config without hooks of this package, as MMDetection's are, on the small set."""
    width = dict(
        backbone=dict(widen_factor=0.35),
        neck=dict(in_channels=(104, 200, 336), out_channels=(104, 200, 336, 256)),
        bbox_head=dict(in_channels=(104, 200, 336, 256)),
    )
    cfg = load_config(CONFIG, {'data_root': str(voc), 'model': width}, str(tmp_path / 'work'))
    cfg.default_hooks = dict(timer=dict(type='IterTimerHook'))
    cfg.pop('custom_imports')
    return cfg


@pytest.fixture(scope='module')
def other(tmp_path_factory):
    """A checkpoint to resume from, of another network."""
    path = tmp_path_factory.mktemp('run') / 'epoch_1.pth'
    weights = build_model(load_config(CONFIG)).state_dict()
    meta = dict(epoch=1, iter=4)
    torch.save(dict(meta=meta, state_dict=weights, message_hub={}, optimizer={}), path)
    path.with_name('swapped.py').write_text('a = 1')
    return path


@pytest.mark.parametrize('run', [run_test, lambda cfg, path: train(cfg, resume=path)])
def test_checkpoint_of_another_network_is_refused_before_anything_is_written(
    no_hooks, other, tmp_path, run
):
    said = r'epoch_1.pth is a checkpoint of another model than the .* another shape, .*swapped.py'
    with pytest.raises(CheckpointKeyError, match=said) as error:
        run(no_hooks, str(other))
    assert '\n' not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('allow_partial', [False, True])
def test_load_from_is_strict_without_the_hook_in_the_config(
    no_hooks, other, monkeypatch, allow_partial
):
    """What the hook does is tested with the hooks; here, that the run has it."""
    runner = Mock()
    monkeypatch.setattr('mmdet_mobilenext.engine.train.build_runner', lambda cfg: runner)
    no_hooks.load_from = str(other)
    train(no_hooks, allow_partial=allow_partial)
    runner.train.assert_called_once_with()
    (hook,) = hooks_of_type(no_hooks, 'StrictLoadHook')
    assert hook.get('allow_partial', False) is allow_partial
    assert no_hooks.custom_imports.imports == ['mmdet_mobilenext']
