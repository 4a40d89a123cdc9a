# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from mmdet.models.backbones import ResNet
from mmengine.model import BaseModule, BaseTTAModel, PretrainedInit
from mmengine.registry import HOOKS
from torch import nn
from toy_runner import ToyNet, toy_runner

from mmdet_mobilenext.checkpoints.strict import (
    CheckpointKeyError,
    KeyReport,
    check_checkpoint_for_model,
    check_pretrained_init,
    compare_state_dicts,
    unwrap_model,
)
from mmdet_mobilenext.engine import strict_load_hook
from mmdet_mobilenext.engine.strict_load_hook import StrictLoadHook


def spoil(state_dict):
    """Drop, rename, transpose and add a key."""
    bad = dict(state_dict)
    del bad['stem.bias']
    bad['haed.bias'] = bad.pop('head.bias')
    bad['stem.weight'] = bad['stem.weight'].t()
    bad['extra.scale'] = torch.ones(1)
    return bad


SPOILED = KeyReport(
    missing=['stem.bias', 'head.bias'],
    unexpected=['haed.bias', 'extra.scale'],
    wrong_shape=[('stem.weight', (4, 3), (3, 4))],
    matched=6,
)


def assert_lists_spoiled(message):
    for part in ('stem.bias', 'head.bias', 'haed.bias', 'extra.scale', '(4, 3)', '(3, 4)'):
        assert part in message, part


class TTA(BaseTTAModel):
    def merge_preds(self, data_samples_list):
        return data_samples_list


class TestCompare:
    def test_equal(self):
        report = compare_state_dicts(ToyNet(), ToyNet().state_dict())
        assert report == KeyReport(matched=9) and report.ok and report.describe() == ''
        report.raise_if_bad('two equal models')

    def test_every_difference_is_listed(self):
        report = compare_state_dicts(ToyNet(), spoil(ToyNet().state_dict()))
        assert report == SPOILED
        with pytest.raises(
            CheckpointKeyError, match=r'^a\.pth and the model do not match'
        ) as caught:
            report.raise_if_bad('a.pth and the model')
        assert_lists_spoiled(str(caught.value))

    def test_state_dicts(self):
        weights = ToyNet().state_dict()
        assert compare_state_dicts(weights, spoil(weights)) == SPOILED

    def test_num_batches_tracked(self):
        """Old checkpoints lack it; one that the model lacks means other layers."""
        weights = ToyNet().state_dict()
        del weights['norm.num_batches_tracked']
        assert compare_state_dicts(ToyNet(), weights).ok
        report = compare_state_dicts(weights, ToyNet().state_dict())
        assert report.unexpected == ['norm.num_batches_tracked']

    @pytest.mark.parametrize(('ours', 'theirs', 'ok'), [((), (1,), True), ((1,), (), False)])
    def test_scalars_as_in_torch(self, ours, theirs, ok):
        module = nn.Module()
        module.scale = nn.Parameter(torch.zeros(ours))
        weights = dict(scale=torch.ones(theirs))
        assert compare_state_dicts(module, weights).ok is ok
        if ok:
            module.load_state_dict(weights)
        else:
            with pytest.raises(RuntimeError):
                module.load_state_dict(weights)

    def test_wrappers(self):
        model = ToyNet()
        wrapped = nn.DataParallel(TTA(module=model))
        assert unwrap_model(wrapped) is model
        assert compare_state_dicts(wrapped, model.state_dict()).ok


class TestCheckCheckpoint:
    def save(self, tmp_path, content):
        path = str(tmp_path / 'weights.pth')
        torch.save(content, path)
        return path

    @pytest.mark.parametrize('prefix', ['', 'module.'])
    @pytest.mark.parametrize('bare', [True, False])
    def test_forms(self, tmp_path, prefix, bare):
        weights = {prefix + key: value for key, value in ToyNet().state_dict().items()}
        path = self.save(tmp_path, weights if bare else dict(state_dict=weights, meta={}))
        assert check_checkpoint_for_model(ToyNet(), path) == KeyReport(matched=9)

    @pytest.mark.parametrize('bare', [True, False])
    def test_differences(self, tmp_path, bare):
        weights = spoil(ToyNet().state_dict())
        path = self.save(tmp_path, weights if bare else dict(state_dict=weights))
        with pytest.raises(CheckpointKeyError) as caught:
            check_checkpoint_for_model(ToyNet(), path)
        assert path in str(caught.value)
        assert_lists_spoiled(str(caught.value))
        assert check_checkpoint_for_model(ToyNet(), path, allow_partial=True) == SPOILED

    def test_nothing_fits(self, tmp_path):
        path = self.save(tmp_path, dict(other=torch.ones(1)))
        with pytest.raises(CheckpointKeyError, match='0 keys match'):
            check_checkpoint_for_model(ToyNet(), path, allow_partial=True)

    def test_ema(self, tmp_path):
        weights = ToyNet().state_dict()
        ema = {'steps': torch.tensor(1), **{f'module.{k}': v for k, v in weights.items()}}
        path = self.save(tmp_path, dict(state_dict=weights, ema_state_dict=ema))
        assert check_checkpoint_for_model(ToyNet(), path).ok
        del ema['module.stem.weight']
        path = self.save(tmp_path, dict(state_dict=weights, ema_state_dict=ema))
        with pytest.raises(CheckpointKeyError, match=r'ema_state_dict(.|\n)*stem\.weight'):
            check_checkpoint_for_model(ToyNet(), path)

    @pytest.mark.parametrize(
        'content', [dict(model=ToyNet().state_dict()), dict(state_dict=None), [1, 2], {}]
    )
    def test_other_layouts_name_the_converter(self, tmp_path, content):
        path = self.save(tmp_path, content)
        with pytest.raises(CheckpointKeyError, match='convert_checkpoint') as caught:
            check_checkpoint_for_model(ToyNet(), path)
        assert path in str(caught.value)


class Backbone(BaseModule):
    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.conv = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4)


class Detector(BaseModule):
    def __init__(self, backbone, init_cfg=None):
        super().__init__(init_cfg)
        self.backbone = backbone
        self.head = nn.Linear(2, 2)


class Declaring(Backbone):
    def optional_pretrained_keys(self):
        return {'fc.weight'}

    def is_optional_pretrained_key(self, key):
        return key.startswith('stages.')


class DeclaringSet(Backbone):
    optional_pretrained_keys = ('fc.weight', 'stages.8.weight')


class TestPretrained:
    @pytest.fixture
    def weights(self):
        return dict(Backbone().state_dict())

    def build(self, tmp_path, weights, cls=Backbone, prefix=None, file_prefix='', as_list=False):
        path = str(tmp_path / 'pretrained.pth')
        torch.save(dict(state_dict={file_prefix + k: v for k, v in weights.items()}), path)
        init_cfg = dict(type='Pretrained', checkpoint=path)
        if prefix is not None:
            init_cfg['prefix'] = prefix
        if as_list:
            init_cfg = [dict(type='Kaiming', layer='Conv2d'), init_cfg]
        return Detector(cls(init_cfg)), path

    @pytest.mark.parametrize('as_list', [True, False])
    @pytest.mark.parametrize('prefix', [None, 'backbone', 'backbone.'])
    def test_fits(self, tmp_path, weights, prefix, as_list):
        file_prefix = 'backbone.' if prefix else ''
        model, path = self.build(tmp_path, weights, Backbone, prefix, file_prefix, as_list)
        assert check_pretrained_init(model) == {f'backbone: {path}': KeyReport(matched=7)}
        model.init_weights()  # what was checked is what mmengine loads
        assert all(torch.equal(v, weights[k]) for k, v in model.backbone.state_dict().items())

    def test_class_as_type_and_top_level(self, tmp_path, weights):
        model, path = self.build(tmp_path, weights)
        model.backbone.init_cfg['type'] = PretrainedInit
        assert len(check_pretrained_init(model)) == 1
        del weights['conv.bias']
        torch.save(weights, path)
        with pytest.raises(CheckpointKeyError, match=r'the model \(Backbone\)'):
            check_pretrained_init(model.backbone)

    def test_nothing_pretrained(self):
        assert check_pretrained_init(Detector(Backbone(dict(type='Xavier', layer='Conv2d')))) == {}

    def test_missing_and_wrong_shape(self, tmp_path, weights):
        del weights['norm.running_var']
        weights['conv.weight'] = weights['conv.weight'].transpose(0, 1)
        model, path = self.build(tmp_path, weights, prefix='backbone.', file_prefix='backbone.')
        with pytest.raises(CheckpointKeyError) as caught:
            check_pretrained_init(model)
        for part in (
            path,
            'backbone (Backbone)',
            'norm.running_var',
            '(4, 3, 1, 1)',
            '(3, 4, 1, 1)',
        ):
            assert part in str(caught.value)

    def test_unexpected_is_an_error_unless_declared(self, tmp_path, weights):
        weights['fc.weight'] = torch.ones(1)
        weights['stages.8.weight'] = torch.ones(1)
        for cls in (Declaring, DeclaringSet):
            model, path = self.build(tmp_path, weights, cls)
            report = check_pretrained_init(model)[f'backbone: {path}']
            assert report.unexpected == ['fc.weight', 'stages.8.weight']
        model, _ = self.build(tmp_path, weights)
        with pytest.raises(CheckpointKeyError, match=r'fc\.weight\n +stages\.8\.weight'):
            check_pretrained_init(model)
        weights['undeclared'] = torch.ones(1)
        model, _ = self.build(tmp_path, weights, Declaring)
        with pytest.raises(CheckpointKeyError, match='undeclared') as caught:
            check_pretrained_init(model)
        assert 'fc.weight' not in str(caught.value)

    def test_other_prefixes_of_the_file_do_not_matter(self, tmp_path, weights):
        model, path = self.build(tmp_path, weights, prefix='backbone.', file_prefix='backbone.')
        content = torch.load(path)
        content['state_dict']['bbox_head.weight'] = torch.ones(1)
        torch.save(content, path)
        assert next(iter(check_pretrained_init(model).values())).ok

    def test_absent_prefix_names_those_there_are(self, tmp_path, weights):
        model, path = self.build(
            tmp_path, weights, prefix='backbone.', file_prefix='module.features.'
        )
        with pytest.raises(CheckpointKeyError) as caught:
            check_pretrained_init(model)
        assert f"{path} has no key below 'backbone.'; it has 'module.features.'" in str(
            caught.value
        )

    def test_all_modules_are_reported(self, tmp_path, weights):
        model, path = self.build(tmp_path, {})
        model.init_cfg = dict(type='Pretrained', checkpoint=path)
        torch.save(dict(weight=torch.ones(1)), path)
        with pytest.raises(CheckpointKeyError) as caught:
            check_pretrained_init(model)
        assert 'the model (Detector)' in str(caught.value)
        assert 'backbone (Backbone)' in str(caught.value)


class TestStrictLoadHook:
    @pytest.fixture
    def trained(self, tmp_path):
        runner = toy_runner(tmp_path / 'first', epochs=1)
        runner.train()
        return str(tmp_path / 'first' / 'epoch_1.pth')

    @pytest.fixture
    def spoiled(self, trained):
        checkpoint = torch.load(trained, weights_only=False)
        checkpoint['state_dict'] = spoil(checkpoint['state_dict'])
        path = trained.replace('epoch_1', 'spoiled')
        torch.save(checkpoint, path)
        return path

    def runner(self, tmp_path, load_from, allow_partial=False, **changes):
        hook = dict(type='StrictLoadHook', allow_partial=allow_partial)
        changes.setdefault('custom_hooks', [hook])
        return toy_runner(tmp_path / 'second', load_from=load_from, **changes)

    def test_registered(self):
        assert HOOKS.get('StrictLoadHook') is StrictLoadHook

    @pytest.mark.parametrize('resume', [False, True])
    @pytest.mark.parametrize('allow_partial', [False, True])
    def test_good(self, tmp_path, trained, resume, allow_partial):
        self.runner(tmp_path, trained, allow_partial, resume=resume).train()

    @pytest.mark.parametrize(
        ('call', 'resume', 'allow_partial'),
        [
            ('train', False, False),
            ('train', True, False),
            ('train', True, True),  # resuming is strict all the same
            ('val', False, False),
            ('val', False, True),  # so is testing
            ('test', False, True),
        ],
    )
    def test_bad_stops_before_copying(self, tmp_path, spoiled, call, resume, allow_partial):
        runner = self.runner(tmp_path, spoiled, allow_partial, resume=resume)
        if call == 'test':
            runner = self.runner(
                tmp_path,
                spoiled,
                allow_partial,
                test_dataloader=runner._val_dataloader,
                test_cfg=dict(),
                test_evaluator=runner._val_evaluator,
            )
        before = {key: value.clone() for key, value in runner.model.state_dict().items()}
        with pytest.raises(CheckpointKeyError) as caught:
            getattr(runner, call)()
        assert_lists_spoiled(str(caught.value))
        assert ('--allow-partial' in str(caught.value)) is (call == 'train' and not resume)
        assert all(torch.equal(v, before[k]) for k, v in runner.model.state_dict().items())

    def test_allow_partial_logs_what_stays(self, tmp_path, spoiled, monkeypatch):
        logged = []
        monkeypatch.setattr(
            strict_load_hook, 'print_log', lambda message, *a, **k: logged.append(message)
        )
        self.runner(tmp_path, spoiled, allow_partial=True).train()
        (message,) = logged
        assert '3 keys of ToyNet stay as initialised' in message
        assert_lists_spoiled(message)

    def test_allow_partial_needs_one_key(self, tmp_path):
        path = str(tmp_path / 'other.pth')
        torch.save(dict(state_dict={'other': torch.ones(1)}), path)
        with pytest.raises(CheckpointKeyError, match='would do nothing'):
            self.runner(tmp_path, path, allow_partial=True).train()

    def test_ema_is_checked_before_it_is_exchanged(self, tmp_path):
        hooks = [dict(type='EMAHook'), dict(type='StrictLoadHook')]
        toy_runner(tmp_path / 'first', epochs=1, custom_hooks=hooks).train()
        path = str(tmp_path / 'first' / 'epoch_1.pth')
        self.runner(tmp_path, path, resume=True, custom_hooks=hooks).train()
        checkpoint = torch.load(path, weights_only=False)
        del checkpoint['ema_state_dict']['module.stem.weight']
        torch.save(checkpoint, path)
        with pytest.raises(CheckpointKeyError, match=r'ema_state_dict(.|\n)*stem\.weight'):
            self.runner(tmp_path, path, resume=True, custom_hooks=hooks).train()

    def test_tta_model(self, tmp_path, trained, spoiled):
        def load(path):
            model = TTA(module=ToyNet())
            runner = self.runner(
                tmp_path, path, model=model, train_dataloader=None, train_cfg=None,
                optim_wrapper=None, param_scheduler=None,
            )  # fmt: skip
            runner.load_or_resume()
            return model.module.stem.bias

        assert torch.equal(
            load(trained), torch.load(trained, weights_only=False)['state_dict']['stem.bias']
        )
        with pytest.raises(CheckpointKeyError):
            load(spoiled)


def test_resnet_of_mmdetection_takes_the_file_of_torchvision(tmp_path):
    """A classifier's last layer is in it, of which MMDetection's class says nothing."""
    path = str(tmp_path / 'resnet18.pth')
    net = ResNet(18, init_cfg=dict(type='Pretrained', checkpoint=path))
    fc = {'fc.weight': torch.ones(1000, 512), 'fc.bias': torch.ones(1000)}
    torch.save({**net.state_dict(), **fc}, path)
    (report,) = check_pretrained_init(net).values()
    assert report.unexpected == list(fc) and not report.missing
    torch.save({**net.state_dict(), **fc, 'layer5.weight': torch.ones(1)}, path)
    with pytest.raises(CheckpointKeyError, match=r'1 unexpected .*\n +layer5\.weight'):
        check_pretrained_init(net)
