# SPDX-License-Identifier: Apache-2.0
"""Receptive fields: exact for known stacks, effective ones inside, and a picture of them."""

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from PIL import Image
from test_layers import shown
from torch import nn

from mmdet_mobilenext.analysis.detectors import build_detector, prior_generator_of
from mmdet_mobilenext.analysis.pictures import save_figure
from mmdet_mobilenext.analysis.receptive_field import (
    EffectiveField,
    TheoreticalField,
    detector_maps,
    effective_fields,
    theoretical_fields,
)
from mmdet_mobilenext.analysis.receptive_report import field_figure, field_table, prior_sizes
from mmdet_mobilenext.benchmark.errors import BenchmarkError
from mmdet_mobilenext.engine.environment import OptionError


def fields(model, **kwargs):
    return theoretical_fields(detector_maps, model, **kwargs)


@pytest.mark.parametrize(
    ('layers', 'expected'),
    [
        ([nn.Conv2d(3, 2, 1)], (1, 1, 0.5)),
        ([nn.Conv2d(3, 2, 3, 2, 1)], (3, 2, 0.5)),
        ([nn.Conv2d(3, 2, 2, 2)], (2, 2, 1.0)),  # patches: no shift
        ([nn.Conv2d(3, 2, 3, 1, 1, dilation=2)], (5, 1, 1.5)),  # padded by half
        ([nn.Conv2d(3, 2, 3, 2, 1), nn.ReLU6(), nn.Conv2d(2, 2, 3, 2, 1)], (7, 4, 0.5)),
        ([nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.MaxPool2d(2)], (4, 2, 2.0)),
    ],
)
def test_known_stacks(layers, expected):
    torch.manual_seed(0)
    model = nn.Sequential(*layers)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for axis in (0, 1):
        assert fields(model, axis=axis)['tap 0'] == TheoreticalField(*expected)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_axes_are_told_apart():
    model = nn.Conv2d(3, 2, (3, 7), (1, 2), (1, 3))
    assert fields(model, axis=0)['tap 0'] == TheoreticalField(3, 1, 0.5)
    assert fields(model, axis=1)['tap 0'] == TheoreticalField(7, 2, 0.5)


def by_formula(layers):
    """Size and stride of a stack of (kernel, stride): Araujo et al. 2019, eq. 2."""
    size, jump = 1, 1
    for kernel, stride in layers:
        size, jump = size + (kernel - 1) * jump, jump * stride
    return size, jump


def test_sandglass_stem_and_taps():
    """The stem, then blocks of two depthwise convolutions around pointwise ones."""
    model = MODELS.build(
        dict(
            type='MobileNeXt',
            widen_factor=0.1,
            out_indices=(0, 2, 3),
            taps=('output', 'output', 'expansion'),
        )
    )
    found = fields(model)
    stem, one, two = (3, 2), (3, 1), (3, 2)
    stage0 = [stem, one, two]  # dw_in, then dw_out with stride
    # stage 1 has one block of four layers (keep_3x3); stage 2 a downsampling block without dw_in
    # and two full ones
    stage2 = [*stage0, one, one, two, one, one, one, one]
    for name, layers in (('tap 0', stage0), ('tap 1', stage2), ('tap 2', stage2)):
        assert (found[name].size, found[name].stride) == by_formula(layers)
    # each layer pads by one and has an odd kernel: the first field is centred on the first pixel
    assert {field.offset for field in found.values()} == {0.5}
    assert by_formula(stage0) == (11, 4)


def test_published_mobilenetv2_sees_491_pixels():
    """As Araujo et al. 2019 tell it, https://distill.pub/2019/computing-receptive-fields."""
    model = MODELS.build(dict(type='MobileNetV2', widen_factor=0.1, out_indices=(7,)))
    assert fields(model)['tap 0'] == TheoreticalField(491, 32, 0.5)


class Pyramid(nn.Module):
    """Two taps and an FPN, with a norm that sees the whole map."""

    with_neck = True

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 2, 3, 2, 1), nn.Conv2d(2, 2, 3, 2, 1)
        norm_cfg = dict(type='GN', num_groups=1)
        neck = dict(type='FPN', in_channels=[2, 2], out_channels=2, num_outs=2, norm_cfg=norm_cfg)
        self.neck = MODELS.build(neck)

    def backbone(self, image):
        fine = self.one(image)
        return fine, self.two(fine)


def test_cells_of_a_pyramid_share_coarser_cells():
    found = fields(Pyramid(), breadth=32)
    assert found['tap 0'] == TheoreticalField(3, 2, 0.5)
    assert found['tap 1'] == TheoreticalField(7, 4, 0.5)
    # even cells see 4d - 7 to 4d + 3, odd ones 4d - 3 to 4d + 7: centres 4d - 1.5 and 4d + 2.5
    assert found['level 0'] == TheoreticalField(11, 2, -0.5)
    assert found['level 1'] == TheoreticalField(15, 4, 0.5)


class Gate(nn.Module):
    """What squeeze and excitation does."""

    def forward(self, x):
        return x * x.mean((2, 3), keepdim=True)


def test_global_pooling_is_named():
    with pytest.raises(OptionError, match='is there global pooling'):
        fields(nn.Sequential(nn.Conv2d(3, 2, 1), Gate()), breadth=4)


def test_effective_field_of_one_convolution_is_its_kernel():
    found = effective_fields(detector_maps(nn.Conv2d(3, 8, 5, padding=2)), (33, 33), images=8)
    assert found['tap 0'].size == 5
    assert found['tap 0'].centre == (16.5, 16.5)
    assert found['tap 0'].gradient.max() == 1


def test_effective_field_grows_slower_than_the_theoretical():
    """Luo et al.: as the root of the number of layers."""
    torch.manual_seed(0)
    sizes = {}
    for count in (4, 16):
        stack = [nn.Conv2d(8 if i else 3, 8, 3, padding=1) for i in range(count)]
        sizes[count] = effective_fields(detector_maps(nn.Sequential(*stack)), (65, 65), 4)
    small, large = (sizes[count]['tap 0'].size for count in (4, 16))
    assert small <= 9 and large < 33
    assert large / small < 3


def test_same_seed_same_field():
    run = detector_maps(nn.Conv2d(3, 8, 5))
    first, second, other = (effective_fields(run, (20, 20), 2, seed) for seed in (1, 1, 2))
    assert torch.equal(first['tap 0'].gradient, second['tap 0'].gradient)
    assert not torch.equal(first['tap 0'].gradient, other['tap 0'].gradient)


def test_no_images_are_named():
    with pytest.raises(OptionError, match='1 or more, but received 0'):
        effective_fields(detector_maps(nn.Conv2d(3, 2, 1)), (8, 8), 0)


def test_a_detector_its_table_and_its_picture(demo, tmp_path):
    demo.merge_from_dict({'model.backbone.widen_factor': 0.35})
    channels = (104, 200, 336)
    demo.model.neck.in_channels = channels
    demo.model.neck.out_channels = demo.model.bbox_head.in_channels = (*channels, 256)
    model = build_detector(demo)
    effective = effective_fields(detector_maps(model), (128, 128), images=1)
    found = fields(model, breadth=32)
    assert list(found) == list(effective)
    assert [found[f'level {i}'].stride for i in range(4)] == [8, 16, 32, 64]
    # a depthwise 3x3 in the head adds two cells; the last level has a plain 1x1
    grown = [found[f'prediction {i}'].size - found[f'level {i}'].size for i in range(4)]
    assert grown == [16, 32, 64, 0]
    priors = prior_generator_of(model)
    # the last level's 3:1 box, 170x57, is clamped to the width of 128
    assert [round(low) for low, _ in prior_sizes(priors)] == [16, 36, 68, 85]
    row = next(r for r in shown(field_table(found, effective, priors)).splitlines() if 'n 0' in r)
    assert row.split()[2:4] == ['8', str(found['prediction 0'].size)]
    assert '16 to 24' in row and ' 8 ' in row and ' 4 ' in row
    path = tmp_path / 'fields.png'
    save_figure(field_figure(['prediction 0', 'level 3'], found, effective, priors), path)
    with Image.open(path) as image:
        pixels = np.asarray(image.convert('L'))
    assert pixels.shape[1] > 700 and pixels.std() > 10


def test_theoretical_frame_is_left_out_where_it_is_all_of_the_image():
    gradient = torch.zeros(8, 8)
    gradient[3:5, 3:5] = 1
    shown_field = {'tap 0': EffectiveField(gradient, (2, 2))}
    small, large = TheoreticalField(7, 2, 0.5), TheoreticalField(9, 2, 0.5)
    counts = [
        len(field_figure(['tap 0'], {'tap 0': field}, shown_field).axes[0].patches)
        for field in (small, large)
    ]
    assert counts == [2, 1]


def test_a_picture_needs_a_known_ending(tmp_path):
    figure = field_figure(
        ['tap 0'],
        {'tap 0': TheoreticalField(3, 1, 0.5)},
        {'tap 0': EffectiveField(torch.ones(4, 4), (2, 2))},
    )
    with pytest.raises(BenchmarkError, match=r'fields\.gif'):
        save_figure(figure, tmp_path / 'fields.gif')


def test_a_model_without_priors_has_no_prior_columns():
    assert prior_sizes(None) == []
    assert prior_generator_of(MODELS.build(Config(dict(type='MobileNetV2')))) is None
