# SPDX-License-Identifier: Apache-2.0
"""The search itself: gradients, cost, kill and resume, random search, and comparisons."""

import json
import shutil
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from small_search import CONFIGS, OPERATIONS, make_small_crops, small_search, small_training
from small_voc import ROOT, run_tool
from torchvision_stub import environment_with_stub

from mmdet_mobilenext.benchmark.errors import MixedRunsError
from mmdet_mobilenext.datasets.checks import DataCheckError
from mmdet_mobilenext.engine.config import load_config
from mmdet_mobilenext.engine.environment import OptionError
from mmdet_mobilenext.search import RelaxedCells, command, relaxed_cells
from mmdet_mobilenext.search.crops import make_crops
from mmdet_mobilenext.search.genotype import Genotype, random_genotype, read_genotype
from mmdet_mobilenext.search.random_search import candidate_config, random_search
from mmdet_mobilenext.search.study import compare_seeds, run_study
from mmdet_mobilenext.search.train_loop import DartsTrainLoop
from mmdet_mobilenext.search.training import run_search, set_epochs, train_genotype

TRAIN_LIST = 'VOC2007/ImageSets/Main/train.txt'


@pytest.fixture(autouse=True, scope='module')
def _one_thread():
    """Sums in one order: the same weights in this process and in another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope='module')
def crops(tmp_path_factory):
    return make_small_crops(tmp_path_factory.mktemp('search'))


@pytest.fixture
def darts_cfg():
    return load_config(str(CONFIGS / 'darts_sandglass_small.py')).model


def build(cfg, **options):
    init_default_scope('mmpretrain')
    cfg.network.backbone.update(operations=OPERATIONS, num_nodes=1)
    cfg.network.head.in_channels = 48
    cfg.update(options)
    return MODELS.build(cfg)


def batch(seed, images=6):
    from mmpretrain.structures import DataSample

    rng = torch.Generator().manual_seed(seed)
    inputs = torch.randint(0, 255, (images, 3, 32, 32), generator=rng, dtype=torch.uint8)
    labels = torch.randint(0, 8, (images,), generator=rng).tolist()
    return dict(inputs=inputs, data_samples=[DataSample().set_gt_label(x) for x in labels])


def optimizers(model, momentum=0.9):
    cfg = load_config(str(CONFIGS / 'darts_sandglass_small.py')).optim_wrapper
    cfg.weights.optimizer.momentum = momentum
    return build_optim_wrapper(model, cfg)


def test_a_step_moves_every_weight_and_every_alpha(darts_cfg):
    model = build(darts_cfg)
    wrapper = optimizers(model)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    logged = model.train_step(dict(weights=batch(0), architecture=batch(1)), wrapper)
    unmoved = [name for name, p in model.named_parameters() if p.equal(before[name])]
    assert unmoved == []
    assert {'loss', 'architecture_loss', 'expected_cost'} <= set(logged)
    alphas = {id(p) for p in model.architecture_parameters()}
    groups = {n: {id(p) for g in w.optimizer.param_groups for p in g['params']}
              for n, w in wrapper.items()}  # fmt: skip
    assert groups['architecture'] == alphas and not groups['weights'] & alphas
    assert len(groups['weights'] | alphas) == len(before)


def test_alphas_follow_the_loss_of_their_own_images(darts_cfg):
    """The first-order gradient is that of the loss on the other half, at the weights before."""
    model = build(darts_cfg)
    data = {
        name: model.network.data_preprocessor(batch(seed), True)
        for name, seed in (('weights', 0), ('architecture', 1))
    }
    model._loss(data['architecture']).backward()
    expected = [alpha.grad.clone() for alpha in model.architecture_parameters()]
    gradient, _ = model._architecture_gradient(data, optimizers(model)['weights'])
    for actual, value in zip(gradient, expected, strict=True):
        torch.testing.assert_close(actual, value)


def test_second_order_is_the_gradient_through_a_step(darts_cfg):
    """Against autograd, which differentiates the step itself, in double precision."""
    model = build(darts_cfg, order='second').double().eval()  # norms do not depend on the batch
    model.difference_width = 1e-6  # so that hardly a kink of a ReLU lies in between
    data = {
        name: model.network.data_preprocessor(batch(seed), True)
        for name, seed in (('weights', 0), ('architecture', 1))
    }
    for part in data.values():
        part['inputs'] = part['inputs'].double()
    wrapper = optimizers(model)['weights']
    params, alphas = model.network_parameters(), model.architecture_parameters()
    group = wrapper.optimizer.param_groups[0]
    group['lr'] = 0.5  # the second term must matter
    for param in params:
        wrapper.optimizer.state[param]['momentum_buffer'] = 0.01 * torch.randn_like(param)
    start = [p.detach().clone() for p in params]

    grads = torch.autograd.grad(model._loss(data['weights']), params, create_graph=True)
    moved = {}
    for name, param in model.network.named_parameters():
        index = next((i for i, p in enumerate(params) if p is param), None)
        if index is not None:
            momentum = wrapper.optimizer.state[param]['momentum_buffer']
            step = grads[index] + group['weight_decay'] * param + group['momentum'] * momentum
            moved[name] = param - group['lr'] * step
    losses = torch.func.functional_call(
        model.network, moved, (), {**data['architecture'], 'mode': 'loss'}
    )
    expected = torch.autograd.grad(losses['loss'], alphas)

    first = torch.autograd.grad(model._loss(data['architecture']), alphas)
    gradient, _ = model._architecture_gradient(data, wrapper)
    for actual, value, plain in zip(gradient, expected, first, strict=True):
        assert (value - plain).norm() > 0.05 * plain.norm()
        torch.testing.assert_close(actual, value, rtol=1e-5, atol=1e-9)
    assert all(p.equal(s) for p, s in zip(params, start, strict=True))


def test_second_order_needs_sgd(darts_cfg):
    model = build(darts_cfg, order='second')
    cfg = load_config(str(CONFIGS / 'darts_sandglass_small.py')).optim_wrapper
    cfg.weights.optimizer = dict(type='Adam', lr=1e-3)
    with pytest.raises(ValueError, match=r'one step of SGD ahead, but .* Adam'):
        model.train_step(
            dict(weights=batch(0), architecture=batch(1)), build_optim_wrapper(model, cfg)
        )


def test_counting_costs_leaves_the_seed_alone():
    """Costs are kept in the process; the first search in it begins as the later ones."""
    net = RelaxedCells(OPERATIONS, num_nodes=1, base_channels=12, num_cells=3)
    relaxed_cells._operation_cost.cache_clear()
    before = torch.get_rng_state()
    net.operation_costs('parameters', 32)
    assert torch.get_rng_state().equal(before)


def test_second_order_refuses_frozen_weights(darts_cfg):
    darts_cfg.network.backbone.frozen_stages = 1
    with pytest.raises(ValueError, match=r"order='second' needs .* but \d+ are frozen"):
        build(darts_cfg, order='second')


@pytest.mark.parametrize('cost', ['madds', 'parameters'])
def test_cost_grows_with_the_weight_of_costly_operations(darts_cfg, cost):
    model = build(darts_cfg, cost=cost)
    for alpha in model.architecture_parameters():
        alpha.data.zero_()
    assert model.expected_cost().item() == pytest.approx(1)
    for edge in range(2):
        values = []
        for value in np.linspace(-4, 4, 9):
            model.backbone.alphas['normal'].data[edge, OPERATIONS.index('sandglass_3x3')] = value
            values.append(model.expected_cost().item())
        assert np.all(np.diff(values) > 0)


def test_penalty_pushes_to_cheap_operations(darts_cfg):
    """With nothing else to follow, the search ends at operations that cost nothing."""
    model = build(darts_cfg, cost_weight=1000.0)
    wrapper = optimizers(model)
    wrapper['architecture'].optimizer.param_groups[0]['lr'] = 0.1
    data = dict(weights=batch(0), architecture=batch(1))
    before = model.expected_cost().item()
    for _ in range(4):
        model.train_step(data, wrapper)
    assert model.expected_cost().item() < 0.9 * before
    assert model.genotype().count('sandglass_3x3') == 0


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(order='third'), "order must be one of .*'third'"),
        (dict(cost='latency'), "cost must be one of .*'latency'"),
        (dict(cost_weight=-1), 'cost_weight must not be negative, but received -1'),
    ],
)
def test_options_out_of_range_are_named(darts_cfg, options, message):
    with pytest.raises(ValueError, match=message):
        build(darts_cfg, **options)


def test_a_network_without_relaxed_cells_is_refused(crops):
    init_default_scope('mmpretrain')
    network = small_training(crops).model
    node = [['skip_connect', 0], ['skip_connect', 1]]
    network.backbone.genotype = dict(normal=[node], reduce=[node])
    with pytest.raises(ValueError, match='backbone RelaxedCells, but it is SearchedCells'):
        MODELS.build(dict(type='Darts', network=network))


def test_the_space_without_sandglass_is_one_line_away():
    first, second = (
        load_config(str(CONFIGS / f'{name}_small.py')) for name in ('darts_sandglass', 'darts')
    )
    backbone = second.model.network.backbone
    assert set(first.model.network.backbone.operations) - set(backbone.operations) == {
        'sandglass_3x3'
    }
    backbone.operations = first.model.network.backbone.operations
    assert {k for k in first if first[k] != second[k]} <= {'work_dir'}


def test_found_and_relaxed_networks_have_one_skeleton():
    """A candidate, the final network and the search differ in the cells alone."""
    for name in ('', '_voc07'):
        search = load_config(str(CONFIGS / f'darts_sandglass_small{name}.py'))
        train = load_config(str(CONFIGS / f'cells_small{name}.py'))
        relaxed, found = search.model.network, train.model
        ours = {'type', 'operations', 'num_nodes', 'norm_cfg', 'genotype'}
        skeletons = [
            {k: v for k, v in net.backbone.items() if k not in ours} for net in (relaxed, found)
        ]
        assert skeletons[0] == skeletons[1]
        assert relaxed.head == found.head and relaxed.neck == found.neck
        assert relaxed.data_preprocessor == found.data_preprocessor
        assert relaxed.head.num_classes == search.num_classes
        assert relaxed.head.in_channels == relaxed.backbone.num_nodes * 4 * 12


def test_crops(crops, tmp_path):
    stamp = json.loads((crops / 'crops.json').read_text())
    lists = {p.stem: p.read_text().split('\n')[:-1] for p in (crops / 'meta').glob('*.txt')}
    assert set(lists) == {'train', 'test', 'weights', 'architecture'}
    assert sorted(lists['weights'] + lists['architecture']) == sorted(lists['train'])
    images = [{line.split('_')[0] for line in lists[n]} for n in ('weights', 'architecture')]
    assert images[0] and images[1] and not images[0] & images[1]
    for split in ('train', 'test'):
        assert stamp['counts'][split]['crops'] == len(lists[split])
        assert len(list((crops / split).glob('*.png'))) == len(lists[split])
    # every object is a crop or is counted as left out
    voc = crops.parent / 'VOCdevkit'
    generated = json.loads((voc / 'generated.json').read_text())['counts']
    for split, counts in stamp['counts'].items():
        assert counts['crops'] + sum(counts['left_out'].values()) == generated[split]['objects']
        assert counts['left_out']['difficult'] == generated[split]['difficult']
    options = dict(test_list='VOC2007/ImageSets/Main/test.txt', classes=stamp['classes'])
    before = (crops / 'crops.json').stat().st_mtime_ns
    assert make_crops(voc, crops, **options) == crops
    assert (crops / 'crops.json').stat().st_mtime_ns == before
    with pytest.raises(FileExistsError, match=r'does not hold .* size is 32'):
        make_crops(voc, crops, size=48, **options)
    with pytest.raises(DataCheckError, match=r'nothing\.txt'):
        make_crops(voc, tmp_path / 'x', train_list='VOC2007/ImageSets/Main/nothing.txt', **options)
    with pytest.raises(DataCheckError, match='share 14 images'):
        make_crops(voc, tmp_path / 'x', **{**options, 'test_list': TRAIN_LIST})
    assert not list(tmp_path.iterdir())
    # crops that are there are not those of other data, or of none
    other = shutil.copytree(voc, tmp_path / voc.name)
    annotation = min((other / 'VOC2007' / 'Annotations').iterdir())
    text = annotation.read_text()
    annotation.write_text(text.replace('<difficult>0<', '<difficult>1<', 1))
    assert annotation.read_text() != text
    with pytest.raises(FileExistsError, match=r'does not hold .* data is'):
        make_crops(other, crops, **options)
    with pytest.raises(DataCheckError, match='nowhere'):
        make_crops(tmp_path / 'nowhere', crops, **options)


def test_a_search_writes_its_cells_and_goes_on_where_it_was(crops, tmp_path, monkeypatch):
    """One that was stopped after an epoch ends where one that went through does, with the random
    crops and flips of the config.
    """
    types = [step.type for step in small_search(crops).train_dataloader.dataset.pipeline]
    assert {'RandomCrop', 'RandomFlip'} <= set(types)
    whole = run_search(small_search(crops), tmp_path / 'whole', seed=4)
    assert read_genotype(tmp_path / 'whole' / 'genotype.json').to_dict() == whole['genotype']
    run_epoch = DartsTrainLoop.run_epoch

    def stop(loop):
        if loop.epoch:
            raise KeyboardInterrupt
        run_epoch(loop)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(DartsTrainLoop, 'run_epoch', stop)
        run_search(small_search(crops), tmp_path / 'stopped', seed=4)
    resumed = run_search(small_search(crops), tmp_path / 'stopped', seed=4)
    assert resumed['iterations'] == whole['iterations'] > 2
    assert resumed['genotype'] == whole['genotype']
    assert resumed['seconds'] > 0
    first, second = (
        torch.load(tmp_path / name / 'epoch_2.pth', weights_only=False)['state_dict']
        for name in ('whole', 'stopped')
    )
    for key, value in first.items():
        torch.testing.assert_close(value, second[key], rtol=0, atol=0, msg=key)

    with pytest.raises(MixedRunsError, match='made with other settings: seed: 4 -> 5'):
        run_search(small_search(crops), tmp_path / 'whole', seed=5)
    longer = small_search(crops, **{'train_cfg.max_epochs': 3})
    with pytest.raises(MixedRunsError, match=r'train_cfg\.max_epochs: 2 -> 3'):
        run_search(longer, tmp_path / 'whole', seed=4)


def test_halves_must_differ(crops, tmp_path):
    cfg = small_search(crops)
    cfg.train_cfg.architecture_dataloader = {}
    with pytest.raises(ValueError, match='architecture_dataloader changes nothing'):
        run_search(cfg, tmp_path / 'same', seed=0)
    # another file with some of the same images
    lists = {p.stem: p.read_text().splitlines(keepends=True) for p in (crops / 'meta').iterdir()}
    mixed = tmp_path / 'mixed.txt'
    mixed.write_text(''.join(lists['architecture'] + lists['weights'][:3]))
    cfg = small_search(crops)
    cfg.train_cfg.architecture_dataloader.dataset.ann_file = str(mixed)
    with pytest.raises(ValueError, match='but 3 are in both'):
        run_search(cfg, tmp_path / 'mixed', seed=0)
    cfg = small_search(crops, **{'train_dataloader.batch_size': 5000})
    with pytest.raises(ValueError, match=r'dataloader of the search has .* no whole batch of 5000'):
        run_search(cfg, tmp_path / 'large', seed=0)


def test_random_search_is_deterministic_and_goes_on(crops, tmp_path):
    arguments = small_search(crops), small_training(crops)
    before = str(arguments[1]._cfg_dict)
    first = random_search(*arguments, tmp_path / 'a', 7, 1, candidates=2)
    assert str(arguments[1]._cfg_dict) == before
    # what was killed behind its first candidate
    shutil.copytree(tmp_path / 'a', tmp_path / 'b')
    path = tmp_path / 'b' / 'candidates.json'
    path.write_text(json.dumps(json.loads(path.read_text())[:1]))
    shutil.rmtree(tmp_path / 'b' / 'candidate1')
    second = random_search(*arguments, tmp_path / 'b', 7, 1, candidates=2)
    for one, two in zip(first['candidates'], second['candidates'], strict=True):
        assert {**one, 'seconds': 0} == {**two, 'seconds': 0}
    assert first['genotype'] == second['genotype']
    best = max(first['candidates'], key=lambda c: c['top1'])
    assert first['genotype'] == best['genotype']
    assert read_genotype(tmp_path / 'a' / 'genotype.json') == Genotype.from_dict(best['genotype'])
    assert first['candidates'][0]['genotype'] != first['candidates'][1]['genotype']
    # a budget that the two have used up begins no third, and one for a fifth more neither
    done = [{**candidate, 'seconds': 10.0} for candidate in second['candidates']]
    path.write_text(json.dumps(done))
    third = random_search(*arguments, tmp_path / 'b', 7, 1, budget=24)
    assert len(third['candidates']) == 2
    # fewer than are there: those beyond do not count
    done[1]['top1'], done[0]['top1'] = 90.0, 10.0
    path.write_text(json.dumps(done))
    for options in (dict(candidates=1), dict(budget=12)):
        fewer = random_search(*arguments, tmp_path / 'b', 7, 1, **options)
        assert fewer['genotype'] == done[0]['genotype'] and fewer['seconds'] == 10
    assert json.loads(path.read_text()) == done
    # those of another seed, length or config are not taken for these
    with pytest.raises(MixedRunsError, match='seed: 7 -> 8'):
        random_search(*arguments, tmp_path / 'b', 8, 1, candidates=2)
    with pytest.raises(MixedRunsError, match='candidate_epochs: 1 -> 2'):
        random_search(*arguments, tmp_path / 'b', 7, 2, candidates=2)
    arguments[1].optim_wrapper.optimizer.lr = 0.01
    with pytest.raises(
        MixedRunsError, match=r'train\.optim_wrapper\.optimizer\.lr: 0\.05 -> 0\.01'
    ):
        random_search(*arguments, tmp_path / 'b', 7, 1, candidates=2)


def test_other_cells_or_crops_are_not_gone_on_with(crops, tmp_path, monkeypatch):
    from mmdet_mobilenext.search import training

    class Stop(Exception):
        pass

    def stop(*args, **kwargs):
        raise Stop

    monkeypatch.setattr(training, 'train', stop)
    cells = [random_genotype(np.random.default_rng(i), 1, OPERATIONS) for i in range(2)]
    for _ in range(2):  # the same again is gone on with
        with pytest.raises(Stop):
            train_genotype(small_training(crops), cells[0], tmp_path / 'train', 0)
    with pytest.raises(MixedRunsError, match=r'model\.backbone\.genotype\.') as refused:
        train_genotype(small_training(crops), cells[1], tmp_path / 'train', 0)
    assert '\n' not in str(refused.value)
    other = tmp_path / 'crops'
    other.mkdir()
    (other / 'crops.json').write_text('{}')
    with pytest.raises(MixedRunsError, match=r'settings: crops\.json: \w{16} -> \w{16}\.'):
        train_genotype(small_training(other), cells[0], tmp_path / 'train', 0)
    (tmp_path / 'old').mkdir()
    (tmp_path / 'old' / 'last_checkpoint').write_text('')
    with pytest.raises(MixedRunsError, match=r'no settings\.json that says of what'):
        run_search(small_search(crops), tmp_path / 'old', 0)


def test_configs_of_one_name_are_not_compared(tmp_path):
    args = SimpleNamespace(command='compare', config=['a/mine.py', 'b/mine.py'])
    with pytest.raises(OptionError, match=r'mine is there more than once'):
        command.run(args)


@pytest.mark.parametrize('options', [{}, dict(budget=1, candidates=1), dict(candidates=0)])
def test_random_search_needs_a_budget(crops, tmp_path, options):
    with pytest.raises(OptionError, match='either a budget in seconds or a number'):
        random_search(small_search(crops), small_training(crops), tmp_path, 0, 1, **options)


def test_a_wrong_config_of_the_training_is_refused_before_any_search(crops, tmp_path):
    search, genotype = small_search(crops), random_genotype(np.random.default_rng(0), 1, OPERATIONS)
    said = r'needs the backbone SearchedCells, but the config has None in a Darts'
    with pytest.raises(OptionError, match=said):
        train_genotype(search, genotype, tmp_path / 'train', 0)
    with pytest.raises(OptionError, match=said):
        run_study(dict(search=search), search, tmp_path / 'study', [0])
    with pytest.raises(OptionError, match='1 epoch or more, but received 0'):
        run_study(dict(search=search), small_training(crops), tmp_path / 'study', [0], 0)
    args = SimpleNamespace(command='crops', config=str(ROOT / 'configs/ssdlite_mobilenext_voc.py'))
    with pytest.raises(OptionError, match=r'ssdlite_mobilenext_voc\.py says nothing of crops'):
        command.run(SimpleNamespace(**vars(args), cfg_options=None))
    assert not list(tmp_path.iterdir())


def test_crops_may_be_made_after_a_line_that_missed_them(crops, tmp_path):
    cfg = small_search(crops, data_root=str(tmp_path / 'crops'))
    with pytest.raises(FileNotFoundError, match=r'no crops in .*: .*search\.py crops'):
        run_search(cfg, tmp_path / 'search', 0)
    # nothing is noted that would contradict the crops once they are there
    assert not list(tmp_path.iterdir())


def test_candidates_see_the_halves_of_the_search_and_no_test_image(crops):
    search, train = small_search(crops), small_training(crops)
    cfg = candidate_config(search, train, epochs=2)
    assert cfg.train_dataloader.dataset.ann_file == 'meta/weights.txt'
    assert cfg.val_dataloader.dataset.ann_file == 'meta/architecture.txt'
    assert cfg.val_dataloader.dataset.data_prefix == 'train'
    assert cfg.val_dataloader.dataset.pipeline == train.val_dataloader.dataset.pipeline
    assert cfg.train_cfg.max_epochs == 2 and cfg.param_scheduler[0]['T_max'] == 2
    assert train.train_dataloader.dataset.ann_file == 'meta/train.txt'


def test_a_schedule_of_parts_cannot_be_shortened():
    schedule = dict(type='MultiStepLR', begin=1, end=8)
    cfg = Config(dict(train_cfg=dict(max_epochs=8), param_scheduler=[schedule]))
    with pytest.raises(OptionError, match='from 8 to 2 epochs: the schedule MultiStepLR'):
        set_epochs(cfg, 2)


def test_verdicts():
    scores = dict(a=[60.0, 62.0, 61.0], b=[59.0, 61.5, 60.0], c=[60.5, 61.0, 61.5], d=[70.0] * 3)
    rows = {row['baseline']: row for row in compare_seeds(scores)}
    assert {name: row['verdict'] for name, row in rows.items()} == {
        'b': 'no difference shown',  # alone it would be better
        'c': 'no difference shown',
        'd': 'worse',
    }
    assert compare_seeds({name: scores[name] for name in 'ab'})[0]['verdict'] == 'better'
    assert rows['b']['differences'] == [1.0, 0.5, 1.0] and rows['b']['level'] == pytest.approx(
        1 - 0.05 / 3
    )
    single = compare_seeds(dict(a=[2.0], b=[1.0]))[0]
    assert single['interval'] is None and single['verdict'] == 'no difference shown'


KILLER = """
import os
import signal

from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module(force=True)
class KillHook(Hook):
    def after_train_iter(self, runner, **kwargs):
        if runner.epoch == 1 and not os.path.exists('killed'):
            open('killed', 'w').close()
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_killed_comparison_goes_on(crops, tmp_path, monkeypatch):
    """Killed in the second epoch of its first search; the same line finishes it."""
    (tmp_path / 'kill_hook.py').write_text(KILLER)
    for key, value in environment_with_stub({'PYTHONPATH': str(tmp_path)}).items():
        monkeypatch.setenv(key, value)
    cfg, train = small_search(crops), small_training(crops)
    set_epochs(train, 1)
    cfg.custom_imports.imports += ['kill_hook']
    cfg.custom_hooks = [dict(type='mmengine.KillHook')]
    cfg.dump(tmp_path / 'search.py')
    train.dump(tmp_path / 'train.py')
    line = (
        'compare', tmp_path / 'search.py', '--train', tmp_path / 'train.py', '--seeds', 0,
        '--candidate-epochs', 1, '--work-dir', tmp_path / 'study',
    )  # fmt: skip
    killed = run_tool('search.py', *line, check=False, cwd=tmp_path)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    done = run_tool('search.py', *line, cwd=tmp_path)
    assert 'resumed epoch: 1' in done.stdout + done.stderr
    assert '| search against random search in search |' in done.stdout
    assert '| one seed, none | no difference shown |' in done.stdout
    results = json.loads((tmp_path / 'study' / 'results.json').read_text())
    assert results['seeds'] == [0] and len(results['ways']) == 2
    # a third time: nothing is left to do
    again = run_study(dict(search=cfg), train, tmp_path / 'study', [0], 1)
    assert again == results
    train.optim_wrapper.optimizer.lr = 0.01
    with pytest.raises(
        MixedRunsError, match=r'train\.optim_wrapper\.optimizer\.lr: 0\.05 -> 0\.01'
    ):
        run_study(dict(search=cfg), train, tmp_path / 'study', [0], 1)


def test_errors_of_the_tool_are_one_line(tmp_path, monkeypatch):
    for key, value in environment_with_stub({}).items():
        monkeypatch.setenv(key, value)
    bad = tmp_path / 'bad.json'
    bad.write_text('{}')
    done = run_tool('search.py', 'show', bad, check=False)
    assert done.returncode == 1 and 'GenotypeError' in done.stderr
    assert 'Traceback' not in done.stderr
