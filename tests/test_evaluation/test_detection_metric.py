# SPDX-License-Identifier: Apache-2.0
"""The metric inside of MMDetection: formats, order, duplicates and clear errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmdet.evaluation.metrics import VOCMetric
from mmdet.registry import METRICS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.logging import MMLogger
from mmengine.structures import InstanceData
from record_factory import random_records

from mmdet_mobilenext.evaluation.detection_metric import DetectionMetric
from mmdet_mobilenext.evaluation.metrics import METRICS as METRIC_NAMES
from mmdet_mobilenext.evaluation.metrics import evaluate
from mmdet_mobilenext.evaluation.records import DetectionRecords

ARRAYS = (
    'image_ids image_paths image_sizes det_boxes det_scores det_labels det_images '
    'gt_boxes gt_labels gt_images gt_ignored'
).split()


def sample(records, index, wrap=lambda boxes: boxes, name=None, path=None):
    """One image as a DetDataSample, as a dictionary like the Evaluator makes."""
    det, gt = records.det_images == index, records.gt_images == index

    def objects(which):
        return InstanceData(
            bboxes=wrap(torch.from_numpy(records.gt_boxes[which])),
            labels=torch.from_numpy(records.gt_labels[which]).long(),
        )

    name = records.image_ids[index] if name is None else name
    data = DetDataSample(
        metainfo={
            'img_id': name,
            'img_path': path or f'images/{name}.jpg',
            'ori_shape': (60, 60),
        }
    )
    data.gt_instances = objects(gt & ~records.gt_ignored)
    data.ignored_instances = objects(gt & records.gt_ignored)
    data.pred_instances = InstanceData(
        bboxes=torch.from_numpy(records.det_boxes[det]),
        scores=torch.from_numpy(records.det_scores[det]),
        labels=torch.from_numpy(records.det_labels[det]).long(),
    )
    return data.to_dict()


@pytest.fixture
def records():
    return random_records(2, num_images=12, difficult='mixed')


def build(records, **settings):
    metric = METRICS.build({'type': 'DetectionMetric', **settings})
    metric.dataset_meta = {'classes': records.classes}
    return metric


def flat(records):
    metrics = evaluate(records)
    return {f'detection/{n}': metrics[n] for n in METRIC_NAMES if metrics[n] is not None}


@pytest.mark.parametrize('wrap', [lambda boxes: boxes, HorizontalBoxes], ids=['tensor', 'hbox'])
def test_metrics_and_file_of_a_test_set(records, wrap, tmp_path):
    metric = build(records, outfile=tmp_path / 'run' / 'records.npz')
    samples = [sample(records, i, wrap) for i in range(12)]
    metric.process({}, samples[:7])
    metric.process({}, samples[7:])
    result = metric.evaluate(size=12)
    result_records = DetectionRecords.load(tmp_path / 'run/records.npz')
    assert result == flat(result_records)
    assert all(type(value) is float for value in result.values())
    assert set(result) == {f'detection/{name}' for name in METRIC_NAMES}
    assert result_records.classes == records.classes
    assert result_records.image_paths[0] == 'images/image00000.jpg'
    assert result_records.image_sizes.tolist() == [[60, 60]] * 12
    for name in ('det_boxes', 'det_scores', 'det_labels', 'det_images'):
        np.testing.assert_array_equal(getattr(result_records, name), getattr(records, name))
    # Objects are stored with the difficult ones last in each image.
    assert result_records.gt_ignored.sum() == records.gt_ignored.sum() > 0
    assert result['detection/voc_11point'] == pytest.approx(evaluate(records)['voc_11point'])


def test_same_headline_as_mmdet(records):
    mine, theirs = build(records), VOCMetric(eval_mode='11points')
    theirs.dataset_meta = {'classes': records.classes}
    unique = random_records(2, num_images=12, ties=False)
    samples = [sample(unique, i) for i in range(12)]
    for metric in (mine, theirs):
        metric.process({}, samples)
    assert mine.evaluate(12)['detection/voc_11point'] == pytest.approx(
        theirs.evaluate(12)['pascal_voc/mAP'], abs=1e-6
    )


def test_order_and_padding_of_processes_do_not_matter(records):
    one, two = build(records), build(records)
    samples = [sample(records, i) for i in range(12)]
    one.process({}, samples)
    # As gathered from two processes whose sampler has repeated the first images.
    two.process({}, samples[1::2] + samples[:1])
    two.process({}, samples[0::2] + samples[1:3])
    first, second = one.make_records(one.results), two.make_records(two.results)
    assert second.num_images == 12
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert one.evaluate(12) == two.evaluate(15)


def test_numbers_as_image_ids(records):
    metric = build(records)
    metric.process({}, [sample(records, i, name=i) for i in range(12)])
    made = metric.make_records(metric.results)
    assert made.image_ids.tolist() == sorted(str(i) for i in range(12))


def test_absent_fields_and_numpy(records):
    metric = build(records)
    data = sample(records, 0)
    for name in ('ignored_instances', 'img_path', 'ori_shape'):
        del data[name]
    for part in ('pred_instances', 'gt_instances'):
        data[part] = {name: value.numpy() for name, value in data[part].items()}
    metric.process({}, [data])
    made = metric.make_records(metric.results)
    assert made.image_paths.tolist() == [''] and made.image_sizes.tolist() == [[0, 0]]
    assert not made.gt_ignored.any()


def test_class_without_objects_is_in_no_mean_and_told_in_the_table(caplog):
    records = DetectionRecords.from_lists(
        ['cat', 'dog'],
        ['a'],
        det=[([[0, 0, 9, 9]], [0.9], [0])],
        gt=[([[0, 0, 9, 9]], [0], [False])],
    )
    metric = build(records)
    metric.process({}, [sample(records, 0)])
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        assert metric.evaluate(1) == {f'detection/{name}': 1.0 for name in METRIC_NAMES}
    finally:
        logger.removeHandler(caplog.handler)
    rows = [line for line in caplog.text.splitlines() if line.startswith('|')]
    assert [cell.strip() for cell in rows[1].split('|')[1:5]] == ['cat', '1', '0', '1']
    assert rows[2].count('not evaluated') == 3 and 'dog' in rows[2]
    assert rows[3].split('|')[5].strip() == '1.000'


def test_no_objects_at_all_leaves_the_means_out():
    records = DetectionRecords.from_lists(
        ['cat'], ['a'], [([[0, 0, 9, 9]], [0.9], [0])], [([], [], [])]
    )
    metric = build(records)
    metric.process({}, [sample(records, 0)])
    assert metric.evaluate(1) == {}


@pytest.mark.filterwarnings('ignore:DetectionMetric got empty')
def test_empty_test_set(records):
    with pytest.raises(ValueError, match=r'test set is empty.*check ann_file'):
        build(records).evaluate(size=0)


def test_two_images_of_one_name(records):
    metric = build(records)
    metric.process({}, [sample(records, 0, name='a', path=f'{d}/a.jpg') for d in ('x', 'y')])
    with pytest.raises(ValueError, match=r'img_id a belongs to two images, x/a.jpg and y/a.jpg'):
        metric.evaluate(size=2)


@pytest.mark.parametrize('name', ['img_id', 'gt_instances', 'pred_instances'])
def test_lacking_fields(records, name):
    data = sample(records, 0)
    del data[name]
    with pytest.raises(ValueError, match=rf"image00000.jpg lacks \['{name}'\]"):
        build(records).process({}, [data])


def test_unknown_class_names(records):
    metric = DetectionMetric()
    metric.process({}, [sample(records, 0)])
    with pytest.raises(ValueError, match='class names are unknown'):
        metric.evaluate(size=1)


def test_detector_of_more_classes(records):
    metric = build(records)
    metric.dataset_meta = {'classes': ('only',)}
    metric.process({}, [sample(records, i) for i in range(12)])
    with pytest.raises(ValueError, match='but there are 1 classes'):
        metric.evaluate(size=12)
