# SPDX-License-Identifier: Apache-2.0
"""The same figures as independent public implementations, on hundreds of random sets."""

from __future__ import annotations

import contextlib
import io
import math
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmdet.evaluation.functional import eval_map, mean_ap
from record_factory import random_records

from mmdet_mobilenext.evaluation.average_precision import class_average_precisions
from mmdet_mobilenext.evaluation.matching import COCO_IOU_THRS, match_coco, match_voc
from mmdet_mobilenext.evaluation.metrics import evaluate
from mmdet_mobilenext.evaluation.records import DetectionRecords


def same_every_time(max_examples):
    return settings(
        max_examples=max_examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


def sets(**fixed):
    """Random records of any size from nothing to a few dozen detections."""
    return st.builds(
        random_records,
        seed=st.integers(0, 2**32 - 1),
        num_images=st.integers(1, 6),
        num_classes=st.integers(1, 4),
        max_objects=st.integers(0, 7),
        max_dets=st.integers(0, 14),
        crowded=st.booleans(),
        **fixed,
    )


def assert_same(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Equal to 1e-6, and not evaluated for the same classes."""
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6, equal_nan=True)


class StableNumpy:
    """numpy, whose argsort keeps the order of equal scores, which mmdet leaves open."""

    def __getattr__(self, name):
        return getattr(np, name)

    @staticmethod
    def argsort(values):
        return np.argsort(values, kind='stable')


class DoubleNumpy(StableNumpy):
    """numpy, whose single precision is double: what ``eval_map`` computes before it rounds."""

    float32 = np.float64


class SerialPool:
    """Stands for the pool of processes that mmdet starts in each call."""

    def __init__(self, processes):
        pass

    @staticmethod
    def starmap(function, arguments):
        return [function(*each) for each in arguments]

    def close(self):
        pass


def mmdet_results(
    records: DetectionRecords, mode: str, numpy: object = None
) -> tuple[float, list[dict]]:
    """``eval_map`` as ``VOCMetric`` calls it, on another ``numpy``."""
    dets, annotations = [], []
    for i in range(records.num_images):
        det, gt = records.det_images == i, records.gt_images == i
        rows = np.hstack([records.det_boxes[det], records.det_scores[det][:, None]])
        labels = records.det_labels[det]
        dets.append([rows[labels == k] for k in range(len(records.classes))])
        annotations.append(
            {
                'bboxes': records.gt_boxes[gt & ~records.gt_ignored],
                'labels': records.gt_labels[gt & ~records.gt_ignored],
                'bboxes_ignore': records.gt_boxes[gt & records.gt_ignored],
                'labels_ignore': records.gt_labels[gt & records.gt_ignored],
            }
        )
    with (
        mock.patch.object(mean_ap, 'Pool', SerialPool),
        mock.patch.object(mean_ap, 'np', StableNumpy() if numpy is None else numpy),
    ):
        return eval_map(
            dets,
            annotations,
            iou_thr=0.5,
            dataset=records.classes,
            logger='silent',
            eval_mode=mode,
            use_legacy_coordinate=True,
        )


@same_every_time(300)
@given(sets(ties=st.booleans(), grid=st.booleans(), difficult=st.sampled_from(['mixed', 'none'])))
def test_voc_as_in_mmdet(records):
    matches, result = match_voc(records), evaluate(records)
    for mode, name in (('11points', 'voc_11point'), ('area', 'voc_area')):
        mean, rows = mmdet_results(records, mode)
        evaluated = np.array([row['num_gts'] for row in rows]) > 0
        theirs = np.where(evaluated, [row['ap'] for row in rows], np.nan)
        assert_same(class_average_precisions(matches, mode), theirs)
        assert (result[name] is None) == (not evaluated.any())
        assert (result[name] or 0) == pytest.approx(mean, abs=1e-6)
    for k, row in enumerate(rows):  # not only AP: every decision is the same
        part = slice(matches.starts[k], matches.starts[k + 1])
        tp, fp = np.cumsum(matches.tp[part]), np.cumsum(matches.fp[part])
        assert row['num_gts'] == matches.num_gt[k]
        np.testing.assert_array_equal(tp, np.rint(row['recall'] * max(row['num_gts'], 0)))
        np.testing.assert_allclose(tp / np.maximum(tp + fp, 1), row['precision'], atol=1e-6)


@pytest.mark.parametrize('mode', ['11points', 'area'])
@pytest.mark.parametrize(
    'size',
    [
        dict(num_images=1, num_classes=1, max_objects=2, max_dets=5),
        dict(num_images=6, num_classes=3),
        dict(num_images=60, num_classes=5, max_objects=9, max_dets=30),
        dict(num_images=150, num_classes=20, max_objects=6, max_dets=40),
    ],
    ids=lambda size: f'{size["num_images"]}_images',
)
def test_voc_as_in_mmdet_to_its_last_digit(size, mode):
    """``eval_map`` in double precision gives the same to 1e-9, as it is to 1e-6.

    Single precision enters it with ``tp`` and ``fp`` (whole numbers, exact up to 2**24), so with
    the precisions, which it rounds; the AP of a class, and the sum of the 11 points on the way to
    it; and the mean over classes. Recalls, and which box matches which, are not affected. Scores
    differ, so it needs no other sorting than its own.
    """
    name = {'11points': 'voc_11point', 'area': 'voc_area'}[mode]
    differences = []
    for seed in range(3):
        records = random_records(seed, ties=False, difficult='mixed', **size)
        assert len(np.unique(records.det_scores)) == len(records.det_scores)
        ours = class_average_precisions(match_voc(records), mode)
        for numpy, tolerance in ((DoubleNumpy(), 1e-9), (np, 1e-6)):
            mean, rows = mmdet_results(records, mode, numpy)
            evaluated = np.array([row['num_gts'] for row in rows]) > 0
            theirs = np.where(evaluated, [row['ap'] for row in rows], np.nan)
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance, equal_nan=True)
            result = evaluate(records)[name]
            assert (result or 0) == pytest.approx(mean, abs=tolerance)
            differences.append(abs((result or 0) - mean))
    if size['num_images'] > 1:  # the two comparisons are not one and the same
        assert max(differences[1::2]) > 1e-9


def package_average_precision(records: DetectionRecords, k: int, mode: str) -> float:
    """The package ``mean-average-precision`` for one class.

    It divides by all objects, difficult ones too, which is undone here; its match is an IoU above
    the threshold, not from it on; and it takes the flag ``difficult`` from a wrong object unless
    all of an image and class have the same, so these sets have no others.
    """
    from mean_average_precision import MetricBuilder

    metric = MetricBuilder.build_evaluation_metric('map_2d', num_classes=1)
    for i in range(records.num_images):
        det = (records.det_images == i) & (records.det_labels == k)
        gt = (records.gt_images == i) & (records.gt_labels == k)
        zero = np.zeros((det.sum(), 1))
        preds = np.hstack([records.det_boxes[det], zero, records.det_scores[det][:, None]])
        flags = np.stack([0 * records.gt_ignored[gt], records.gt_ignored[gt], 0 * gt[gt]], axis=1)
        metric.add(preds, np.hstack([records.gt_boxes[gt], flags]))
    of_class = records.gt_labels == k
    counted, every = np.sum(of_class & ~records.gt_ignored), np.sum(of_class)
    points = None
    if mode == '11points':
        points = np.arange(0, 1.001, 0.1)
        if counted != every:  # halfway between two recalls that can occur
            needed = [
                next(m for m in range(counted + 2) if m / counted >= p or m > counted)
                for p in points
            ]
            points = (np.array(needed) - 0.5) / every
    value = metric.value(iou_thresholds=0.5 - 1e-9, recall_thresholds=points)['mAP']
    return value * every / counted if mode == 'area' else value


@same_every_time(250)
@given(
    sets(ties=st.just(False), grid=st.just(False), difficult=st.sampled_from(['by_group', 'none']))
)
@pytest.mark.filterwarnings('ignore::FutureWarning')
def test_voc_as_in_an_independent_package(records):
    matches = match_voc(records)
    for mode in ('11points', 'area'):
        theirs = [
            package_average_precision(records, k, mode) if num_gt else math.nan
            for k, num_gt in enumerate(matches.num_gt)
        ]
        assert_same(class_average_precisions(matches, mode), theirs)


def pycocotools_average_precisions(records: DetectionRecords, max_dets: int) -> np.ndarray:
    """AP of ``COCOeval`` at each threshold and class, NaN for classes without objects.

    Its crowds have another IoU. So an ignored object is an ordinary one beyond the range of areas
    here, once for each detection of its image, since it takes only one.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def to_coco(boxes, labels, images, ids, **more):
        boxes = boxes.astype(np.float64)
        sizes = boxes[:, 2:] - boxes[:, :2]
        return [
            {
                'id': ids + i,  # 0 stands for no match
                'image_id': int(images[i]),
                'category_id': int(labels[i]),
                'bbox': [*boxes[i, :2].tolist(), *sizes[i].tolist()],
                'area': float(sizes[i].prod()),
                'iscrowd': 0,
                **{name: float(values[i]) for name, values in more.items()},
            }
            for i in range(len(boxes))
        ]

    copies = np.bincount(records.det_images, minlength=records.num_images)[records.gt_images]
    repeat = np.repeat(np.arange(len(copies)), np.where(records.gt_ignored, copies, 1))
    objects = to_coco(
        records.gt_boxes[repeat], records.gt_labels[repeat], records.gt_images[repeat], 1
    )
    for each, ignored in zip(objects, records.gt_ignored[repeat], strict=True):
        if ignored:
            each['area'] = 2e10
    found = to_coco(
        records.det_boxes,
        records.det_labels,
        records.det_images,
        1,
        score=records.det_scores,
    )
    with contextlib.redirect_stdout(io.StringIO()):
        apis = []
        for annotations in (objects, found):
            api = COCO()
            api.dataset = {
                'images': [{'id': i} for i in range(records.num_images)],
                'categories': [{'id': k} for k in range(len(records.classes))],
                'annotations': annotations,
            }
            api.createIndex()
            apis.append(api)
        evaluation = COCOeval(*apis, iouType='bbox')
        evaluation.params.areaRng = [[0, 1e10]]
        evaluation.params.areaRngLbl = ['all']
        evaluation.params.maxDets = [max_dets]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval['precision'][:, :, :, 0, 0]
    return np.where(precision[:, 0] < 0, np.nan, precision.mean(axis=1))


@same_every_time(400)
@given(
    sets(ties=st.booleans(), grid=st.booleans(), difficult=st.sampled_from(['mixed', 'none'])),
    st.sampled_from([100, 100, 3]),
)
def test_coco_as_in_pycocotools(records, max_dets):
    theirs = pycocotools_average_precisions(records, max_dets)
    ours = class_average_precisions(match_coco(records, COCO_IOU_THRS, max_dets), 'coco')
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9, equal_nan=True)
    if max_dets == 100:
        result = evaluate(records)
        for name, part in (('coco', theirs), ('coco_50', theirs[0]), ('coco_75', theirs[5])):
            evaluated = part[~np.isnan(part)]
            expected = None if evaluated.size == 0 else pytest.approx(evaluated.mean(), abs=1e-9)
            assert result[name] == expected


def test_random_sets_have_what_they_should():
    """The comparisons above would show little on sets of one kind."""
    seen = {'tp': 0, 'duplicate': 0, 'ignored': 0, 'no_objects': 0, 'no_dets': 0, 'one_pixel': 0}
    for seed in range(50):
        records = random_records(seed)
        matches = match_voc(records)
        seen['tp'] += matches.tp.sum()
        seen['ignored'] += (~matches.tp & ~matches.fp).sum()
        boxes = np.column_stack([records.det_images, records.det_labels, records.det_boxes])
        seen['duplicate'] += len(boxes) - len(np.unique(boxes, axis=0))
        seen['no_objects'] += (matches.num_gt == 0).sum()
        seen['no_dets'] += records.num_images - len(np.unique(records.det_images))
        seen['one_pixel'] += (records.gt_boxes[:, 2:] == records.gt_boxes[:, :2]).all(1).sum()
    assert min(seen.values()) >= 10, seen
