# SPDX-License-Identifier: Apache-2.0
"""Coverage of objects by priors: by hand, on a generated set, and with fitted priors."""

import json

import numpy as np
import pytest
import torch
from mmdet.registry import TASK_UTILS
from mmengine.config import Config
from PIL import Image
from small_voc import run_tool
from test_layers import shown

from mmdet_mobilenext.analysis.coverage import (
    assigner_of,
    measure_coverage,
    recall_by_class,
    recall_by_size,
)
from mmdet_mobilenext.analysis.coverage_report import coverage_summary, coverage_tables
from mmdet_mobilenext.analysis.detectors import LevelPriors, build_detector, priors_of
from mmdet_mobilenext.analysis.objects import (
    Objects,
    annotated_objects,
    augmented_objects,
    build_dataset,
    choose_images,
)
from mmdet_mobilenext.analysis.prior_fit import (
    compare_priors,
    config_lines,
    fit_priors,
    iou_kmeans,
    refine_priors,
)
from mmdet_mobilenext.datasets.checks import DataCheckError
from mmdet_mobilenext.engine.config import load_config
from mmdet_mobilenext.engine.environment import OptionError
from mmdet_mobilenext.models import BatchMaxIoUAssigner


def by_hand():
    """Three priors on two levels, and four objects in two of three images."""
    boxes = [[0, 0, 10, 10], [10, 0, 20, 10], [0, 0, 20, 20]]
    priors = LevelPriors(
        torch.tensor(boxes).float(), torch.tensor([0, 0, 1]), ((1, 2), (1, 1)), (20, 20)
    )
    objects = Objects.from_lists(
        ['cat', 'dog', 'owl'],
        [
            torch.tensor([[0, 0, 10, 8], [0, 0, 20, 20]]),
            torch.zeros(0, 4),
            torch.tensor([[12, 0, 20, 10], [15, 15, 20, 20]]),
        ],
        [[0, 1], [], [0, 0]],
    )
    return priors, objects


def test_by_hand():
    priors, objects = by_hand()
    coverage = measure_coverage(priors, objects, BatchMaxIoUAssigner())
    # 80/100; itself; 80/100; 25/400
    assert coverage.best_iou.tolist() == pytest.approx([0.8, 1.0, 0.8, 0.0625])
    assert coverage.best_level.tolist() == [0, 1, 0, 1]
    assert coverage.recall == 0.75
    # the last object gets its best prior although it covers little of it
    assert coverage.matched.tolist() == [1, 1, 1, 1]
    assert coverage.matched_levels.tolist() == [2, 2]
    assert recall_by_class(objects, coverage) == {
        'cat': (3, pytest.approx(2 / 3)),
        'dog': (1, 1.0),
        'owl': (0, None),
    }
    # roots of areas: 8.9, 20, 8.9 and 5
    assert recall_by_size(objects, coverage, (6, 20)) == {
        'below 6 px': (1, 0.0),
        '6 to 20 px': (2, 1.0),
        '20 px and more': (1, 1.0),
    }


def test_summary_and_tables():
    priors, objects = by_hand()
    coverage = measure_coverage(priors, objects, BatchMaxIoUAssigner())
    summary = coverage_summary(objects, coverage, (6, 20))
    assert (summary['images'], summary['objects'], summary['recall']) == (3, 4, 0.75)
    assert sum(summary['best_iou_histogram']) == 4 and summary['best_iou_histogram'][-1] == 1
    assert summary['matched_priors'] == [0, 4, *[0] * 9]
    json.dumps(summary, allow_nan=False)
    text = shown(coverage_tables({'annotated': summary, 'augmented': summary}))
    (row,) = [line.split() for line in text.splitlines() if ' cat ' in line]
    assert row == ['cat', '3', '66.7', '3', '66.7']
    with pytest.raises(OptionError, match=r'must ascend and be positive, but are \[96, 32\]'):
        coverage_summary(objects, coverage, [96, 32])


def test_without_objects_or_assigner():
    priors, _ = by_hand()
    nothing = Objects.from_lists(['cat'], [torch.zeros(0, 4)], [[]])
    summary = coverage_summary(nothing, measure_coverage(priors, nothing), (32,))
    assert summary['recall'] is None and summary['matched_levels'] is None
    assert 'another rule than the IoU' in shown(coverage_tables({'annotated': summary}))


def test_assigners_of_configs():
    assert assigner_of(load_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py')).pos_iou_thr
    assert assigner_of(load_config('mmdet::atss/atss_r50_fpn_1x_coco.py')) is None
    rpn = assigner_of(load_config('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'))
    assert rpn.pos_iou_thr == 0.7


def test_priors_of_mmdet_detectors():
    cfg = load_config('mmdet::ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py')
    priors = priors_of(build_detector(cfg), (320, 320))
    assert torch.bincount(priors.levels).tolist() == [2400, 600, 150, 54, 24, 6]
    points = load_config('mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py')
    with pytest.raises(OptionError, match='are points, not boxes'):
        priors_of(build_detector(points), (64, 64))


def test_annotated_objects_are_scaled_and_difficult_ones_left_out(demo):
    dataset = build_dataset(demo, 'train')
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    counted = [[i for i in info['instances'] if not i['ignore_flag']] for info in infos]
    assert sum(len(info['instances']) for info in infos) > sum(map(len, counted))
    objects = annotated_objects(demo, 'train', (128, 64))
    assert objects.counts == tuple(map(len, counted))
    info, first = infos[0], torch.tensor(counted[0][0]['bbox'])
    scale = torch.tensor([64 / info['width'], 128 / info['height']]).repeat(2)
    torch.testing.assert_close(objects.boxes[0], first * scale)
    # a quadratic input keeps the ratio where Resize does
    demo.test_dataloader.dataset.pipeline[1].keep_ratio = True
    kept = annotated_objects(demo, 'train', (128, 128)).boxes[0]
    scale = 128 / max(info['width'], info['height'])
    torch.testing.assert_close(kept, first * scale, rtol=0.01, atol=0)  # sides are whole pixels


def test_kept_ratios_need_a_quadratic_input():
    cfg = load_config('mmdet_mobilenext::retinanet/retinanet_mobilenext_fpn_1x_voc0712.py')
    with pytest.raises(OptionError, match=r'test_dataloader has keep_ratio=True .* 1000x600'):
        annotated_objects(cfg, 'train', (600, 1000))
    with pytest.raises(OptionError, match=r'train_dataloader has keep_ratio=True .* 1000x600'):
        augmented_objects(cfg)


def test_augmented_objects_depend_on_the_seed(demo):
    first, again, other = (augmented_objects(demo, 8, seed) for seed in (0, 0, 1))
    assert torch.equal(first.boxes, again.boxes)
    assert not torch.equal(first.boxes, other.boxes)
    assert first.boxes.min() >= 0 and first.boxes.max() <= 128


def test_wrong_sets_and_numbers_are_named(demo):
    with pytest.raises(OptionError, match='1 or more, but received 0'):
        choose_images(range(3), 0, 0)
    with pytest.raises(OptionError, match='must not be negative, but received -1'):
        choose_images(range(3), None, -1)
    assert choose_images(range(100), 3, 0) == choose_images(range(100), 3, 0)
    with pytest.raises(OptionError, match=r'no val_dataloader\.dataset'):
        build_dataset(Config(dict()), 'val')
    demo.train_dataloader.dataset.ann_file = 'nowhere.txt'
    with pytest.raises(DataCheckError, match=r'nowhere\.txt'):
        build_dataset(demo, 'train')


def test_clusters_are_found_again():
    generator = torch.Generator().manual_seed(0)
    true = torch.tensor([[10.0, 10.0], [60.0, 30.0], [200.0, 200.0]])
    noise = 1 + 0.1 * (torch.rand(300, 2, generator=generator) - 0.5)
    sizes = true.repeat(100, 1) * noise
    torch.testing.assert_close(iou_kmeans(sizes, 3), true, rtol=0.02, atol=0)
    assert torch.equal(iou_kmeans(sizes, 3, seed=4), iou_kmeans(sizes, 3, seed=4))
    with pytest.raises(OptionError, match='but there are 2'):
        iou_kmeans(torch.tensor([[1.0, 2.0], [2.0, 1.0]]), 4)


def test_fitted_priors_have_the_shapes_of_the_objects():
    # lying and standing boxes of 3:1 and 1:1.2, at two sizes
    long, flat = torch.tensor([[60.0, 20.0], [20.0, 60.0]]), torch.tensor([[100.0, 120.0]])
    sizes = torch.cat([long.repeat(20, 1), flat.repeat(20, 1)])
    sizes = sizes * (1 + 0.02 * torch.rand(60, 1, generator=torch.Generator().manual_seed(0)))
    priors = fit_priors(sizes, [(16, 16), (32, 32)], [1, 1], (160, 160))
    assert priors['ratios'] == [[3.0], [1.2]]
    assert priors['min_sizes'] == pytest.approx([35, 111], abs=1)
    assert priors['max_sizes'] == [priors['min_sizes'][1], 160]
    names = {}
    exec(config_lines(priors), names)
    pasted = names['model']['bbox_head']['anchor_generator']
    assert TASK_UTILS.build(pasted).num_base_priors == [4, 4]


def test_refined_priors_cover_more_and_never_less():
    objects = Objects.from_lists(['cat'], [torch.tensor([[30.0, 30.0, 70.0, 70.0]] * 3)], [[0] * 3])
    priors = dict(
        type='SSDLitePriorGenerator',
        input_size=100,
        strides=[100],
        min_sizes=[10],
        max_sizes=[12],
        ratios=[[2]],
    )
    cells = LevelPriors(torch.zeros(6, 4), torch.zeros(6).long(), ((1, 1),), (100, 100))
    refined, score = refine_priors(priors, objects, cells, evaluations=150)
    assert score > 0.5 and priors['min_sizes'] == [10]
    best = {**refined, 'min_sizes': [40], 'max_sizes': [41]}
    assert refine_priors(best, objects, cells, evaluations=5)[1] >= score - 1e-6


def test_a_level_with_too_few_shapes_takes_the_ratios_of_all():
    sizes = torch.tensor([[10.0, 10.0], [20.0, 10.0], [30.0, 10.0], [100.0, 100.0]])
    priors = fit_priors(sizes, [(8, 8), (64, 64)], [2, 2], (128, 128))
    assert priors['ratios'][1] and len(priors['ratios'][1]) == 2
    with pytest.raises(OptionError, match='2 clusters need'):
        fit_priors(sizes[[0, 0]], [(8, 8)], [2], (128, 128))


def test_priors_are_compared_on_other_images(demo):
    fitted, summaries = compare_priors(demo, 'annotated', 'val')
    assert set(summaries) == {'config', 'fitted'}
    assert summaries['config']['objects'] == len(annotated_objects(demo, 'val', (128, 128)).boxes)
    assert TASK_UTILS.build(fitted).num_base_priors == [6, 6, 6, 6]
    other = load_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py', {'x': 1})
    with pytest.raises(OptionError, match='SSDLitePriorGenerator, but received a AnchorGenerator'):
        compare_priors(other)


def test_the_tool_writes_a_picture_and_numbers(voc, tmp_path):
    plot, numbers = tmp_path / 'coverage.png', tmp_path / 'coverage.json'
    done = run_tool(
        'analysis/prior_coverage.py',
        'configs/ssdlite_mobilenext_demo.py',
        *('--number', 8, '--plot', plot, '--json', numbers),
        *('--cfg-options', f'data_root={voc}'),
        cwd=run_tool.__globals__['ROOT'],
    )
    assert 'Recall of priors at IoU 0.5' in done.stdout
    written = json.loads(numbers.read_text())
    assert written['annotated']['images'] == written['augmented']['images'] == 8
    with Image.open(plot) as image:
        pixels = np.asarray(image.convert('L'))
    assert pixels.shape[1] > 1000 and pixels.std() > 10


def test_a_size_that_the_priors_were_not_made_for_is_named(demo):
    with pytest.raises(OptionError, match='made for an input of 128x128'):
        priors_of(build_detector(demo), (160, 160))
