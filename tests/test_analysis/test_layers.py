# SPDX-License-Identifier: Apache-2.0
"""Costs of modules: sums are the golden totals, and each module has what a hand counts."""

import golden
import pytest
import torch
from rich.console import Console
from torch import nn

from mmdet_mobilenext.analysis.detectors import build_detector, input_size
from mmdet_mobilenext.analysis.layers import REST, costs_of, peak_memory
from mmdet_mobilenext.analysis.layers_report import comparison_table, cost_table, memory_table
from mmdet_mobilenext.engine.config import load_config
from mmdet_mobilenext.engine.environment import OptionError


def shown(renderable) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def config(root, name):
    return load_config(str(root / f'configs/ssdlite_{name}.py'))


@pytest.mark.parametrize(
    ('name', 'parameters', 'madds'),
    [('mobilenext_voc', 3_476_308, 708_726_528), ('mobilenetv2_voc', 3_425_988, 682_447_872)],
)
def test_modules_add_up_to_the_published_counts(root, name, parameters, madds):
    cfg = config(root, name)
    costs = costs_of(build_detector(cfg), input_size(cfg), training=False)
    assert (costs.parameters, costs.madds) == (parameters, madds)
    for depth in (None, 1, 2, 4):
        rows = costs.at_depth(depth)
        assert sum(row.parameters for row in rows) == parameters
        assert sum(row.madds for row in rows) == madds
        assert REST not in [row.name for row in rows]
        assert f'{madds:,}' in shown(cost_table(name, costs, depth))


def test_golden_counts_are_the_same():
    counts = str(golden.load('models'))
    assert '3476308' in counts and '708726528' in counts


class Mixed(nn.Module):
    """Work in a module, between modules, and in a module that runs twice."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1, bias=False)
        self.shared = nn.Conv2d(4, 4, 3, padding=1)
        self.scale = nn.Parameter(torch.ones(5))

    def forward(self, x):
        x = self.shared(self.shared(self.conv(x)))
        return nn.functional.conv2d(x, torch.ones(2, 4, 1, 1))


def test_counts_by_hand():
    costs = costs_of(Mixed(), (6, 6), training=False)
    by_name = {row.name: (row.parameters, row.madds, row.output) for row in costs.at_depth()}
    assert by_name == {
        'conv': (12, 12 * 36, (4, 6, 6)),
        'shared': (148, 2 * 144 * 36, (4, 6, 6)),
        REST: (5, 8 * 36, ()),
    }


class Loss(nn.Module):
    """The least that looks like a detector."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
        self.norm = nn.BatchNorm2d(2)
        self.act = nn.Sigmoid()

    def data_preprocessor(self, batch, training):
        return dict(batch, inputs=torch.stack(batch['inputs']).float())

    def forward(self, inputs, data_samples=None, mode='tensor'):
        output = self.act(self.norm(self.conv(inputs)))
        return dict(loss=output.sum()) if mode == 'loss' else output

    def parse_losses(self, losses):
        return losses['loss'], {}


def test_bytes_for_backward_by_hand():
    model = Loss()
    before = model.norm.running_mean.clone()
    costs = costs_of(model, (8, 8))
    saved = {row.name: row.saved for row in costs.at_depth()}
    assert saved['conv'] == 3 * 64 * 4  # its input; the weight is no activation
    # its input, and mean and deviation of two channels, of two images
    assert saved['norm'] == 2 * 64 * 4 + 2 * 2 * 4 // 2
    assert saved['act'] == 2 * 64 * 4  # its output
    assert sum(saved.values()) == costs.saved
    assert torch.equal(model.norm.running_mean, before)
    assert model.norm.weight.grad is None


def test_peak_memory_by_hand():
    model = Loss()
    before = model.norm.running_mean.clone()
    peak = peak_memory(model, (64, 64))
    assert peak.weights == sum(t.numel() * t.element_size() for t in model.state_dict().values())
    assert peak.gradients == sum(p.numel() for p in model.parameters()) * 4
    image, feature = 3 * 64 * 64 * 4, 2 * 64 * 64 * 4
    # forward: the image and two features, or three where one is not freed at once
    assert image + 2 * feature <= peak.inference <= image + 3 * feature + 1000
    assert image + 2 * feature <= peak.training <= 2 * image + 5 * feature + 1000
    assert torch.equal(model.norm.running_mean, before) and model.conv.weight.grad is None


def test_training_takes_more_memory_and_grows_with_the_batch(root):
    cfg = config(root, 'mobilenext_demo')
    model = build_detector(cfg)
    costs, peak = costs_of(model, (128, 128)), peak_memory(model, (128, 128))
    assert peak.inference < costs.saved < peak.training < 1.3 * costs.saved
    assert peak.of_training(9) - peak.of_training(8) == peak.training
    text = shown(memory_table(['a'], [peak], [8]))
    assert f'{peak.of_training(8) / 1e6:,.2f}' in text and 'batch 8' in text


@pytest.mark.parametrize(
    'name', ['gfl/gfl_mobilenext_fpn96_1x_voc0712', 'yolox/yolox_mobilenext_tiny_300e_voc0712']
)
def test_families_have_costs_and_memory(root, name):
    """Their losses run once for each level, and YOLOX draws the size of each batch."""
    model = build_detector(load_config(str(root / f'configs/{name}.py')))
    costs, peak = costs_of(model, (64, 64)), peak_memory(model, (64, 64))
    assert sum(row.saved for row in costs.at_depth()) == costs.saved > 64 * 64 * 3 * 4
    assert 0 < peak.inference < peak.training


def test_sizes_that_do_not_fit_are_named(root):
    cfg = config(root, 'mobilenext_demo')
    with pytest.raises(OptionError, match=r'no training step of 100x100 .*made for .* 128x128'):
        costs_of(build_detector(cfg), input_size(cfg, (100,)))
    with pytest.raises(OptionError, match=r'must be 1 or more, but received \[0, 64\]'):
        input_size(cfg, (0, 64))


def test_tables_sort_cut_and_compare(root):
    pair = [config(root, f'{name}_demo') for name in ('mobilenext', 'mobilenetv2')]
    costs = [costs_of(build_detector(cfg), (128, 128), training=False) for cfg in pair]
    lines = shown(cost_table('a', costs[0], order='madds', top=3)).splitlines()
    largest = sorted(costs[0].at_depth(), key=lambda row: -row.madds)
    assert [row.name in line for row, line in zip(largest, lines[4:7], strict=False)] == [True] * 3
    assert f'({len(costs[0].at_depth()) - 3} more)' in lines[7]
    text = shown(comparison_table(['a', 'b'], costs))
    (conv2,) = [line for line in text.splitlines() if 'backbone.conv2' in line]
    assert conv2.split()[1] == '-'  # MobileNeXt has none
    assert all(f'{c.madds:,}' in text and f'{c.parameters:,}' in text for c in costs)


def test_wrong_arguments_are_named():
    costs = costs_of(nn.Conv2d(3, 4, 1), (4, 4), training=False)
    with pytest.raises(OptionError, match="received 'size'"):
        cost_table('a', costs, order='size')
    with pytest.raises(OptionError, match='depth must be 1 or more, but received 0'):
        cost_table('a', costs, depth=0)
    with pytest.raises(OptionError, match='number of rows must be 1 or more, but received -1'):
        cost_table('a', costs, top=-1)


def test_a_detector_of_two_stages_is_named():
    cfg = load_config('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')
    with pytest.raises(OptionError, match='FasterRCNN does not run on an image alone'):
        costs_of(build_detector(cfg), (64, 64), training=False)
