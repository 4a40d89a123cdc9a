# SPDX-License-Identifier: Apache-2.0
"""Which detection gets which object, on cases worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from record_factory import random_records

from mmdet_mobilenext.evaluation.matching import COCO_IOU_THRS, match_coco, match_voc
from mmdet_mobilenext.evaluation.records import DetectionRecords

BOX = [10, 10, 19, 19]  # 10 x 10 pixels by the convention of VOC
FAR = [40, 40, 49, 49]


def one_image(det, gt, classes=('cat',)):
    """det: (box, score, label) each; gt: (box, label, ignored) each."""
    boxes, scores, labels = zip(*det, strict=True) if det else ((), (), ())
    objects = tuple(zip(*gt, strict=True)) if gt else ((), (), ())
    return DetectionRecords.from_lists(
        classes, ['a'], det=[(boxes, scores, labels)], gt=[tuple(map(list, objects))]
    )


def outcome(matches, threshold=None):
    """One letter for each detection by descending score: True, False or Ignored."""
    tp, fp = matches.tp, matches.fp
    if threshold is not None:
        tp, fp = tp[threshold], fp[threshold]
    assert not (tp & fp).any()
    return ''.join('T' if t else 'F' if f else 'I' for t, f in zip(tp, fp, strict=True))


BOTH = pytest.mark.parametrize(
    'match', [match_voc, lambda records: match_coco(records, [0.5])], ids=['voc', 'coco']
)


def first(array):
    """The only threshold."""
    return np.atleast_2d(array)[0].tolist()


@BOTH
def test_best_scored_duplicate_has_the_object(match):
    records = one_image([(BOX, 0.5, 0), (BOX, 0.9, 0), (BOX, 0.7, 0)], [(BOX, 0, False)])
    matches = match(records)
    assert matches.order.tolist() == [1, 2, 0]
    assert first(matches.tp) == [True, False, False]
    assert first(matches.fp) == [False, True, True]
    assert first(matches.gt_index) == [0, -1, -1]


@BOTH
def test_difficult_object_absorbs_any_number(match):
    records = one_image([(BOX, s, 0) for s in (0.9, 0.8, 0.7)], [(BOX, 0, True)])
    matches = match(records)
    assert first(matches.tp) == first(matches.fp) == [False] * 3
    assert first(matches.gt_index) == [0, 0, 0]
    assert matches.num_gt.tolist() == [0]


@BOTH
def test_nothing_detected_and_nothing_there(match):
    none = match(one_image([], [(BOX, 0, False)]))
    assert first(none.tp) == [] and none.num_gt.tolist() == [1] and none.starts.tolist() == [0, 0]
    empty = match(one_image([(BOX, 0.9, 0)], []))
    assert first(empty.fp) == [True] and empty.num_gt.tolist() == [0]
    nothing = match(one_image([], []))
    assert first(nothing.tp) == [] and nothing.num_gt.tolist() == [0]


@BOTH
def test_other_class_and_other_image_do_not_match(match):
    records = DetectionRecords.from_lists(
        ['cat', 'dog'],
        ['a', 'b'],
        det=[([BOX], [0.9], [1]), ([BOX], [0.8], [0])],
        gt=[([BOX], [0], [False]), ([], [], [])],
    )
    matches = match(records)
    assert first(matches.fp) == [True, True]
    assert matches.labels.tolist() == [0, 1] and matches.images.tolist() == [1, 0]
    assert matches.starts.tolist() == [0, 1, 2] and matches.num_gt.tolist() == [1, 0]


@BOTH
def test_equal_scores_keep_the_order_of_the_records(match):
    records = DetectionRecords.from_lists(
        ['cat'],
        ['a', 'b'],
        det=[([FAR, BOX, BOX], [0.5] * 3, [0] * 3), ([BOX], [0.5], [0])],
        gt=[([BOX], [0], [False]), ([BOX], [0], [False])],
    )
    matches = match(records)
    assert matches.order.tolist() == [0, 1, 2, 3]
    assert first(matches.tp) == [False, True, False, True]


def test_one_pixel_boxes_have_an_area_only_in_voc():
    pixel = [5, 5, 5, 5]
    records = one_image([(pixel, 0.9, 0)], [(pixel, 0, False)])
    assert outcome(match_voc(records)) == 'T'
    assert outcome(match_voc(records, iou_thr=1.0)) == 'T'
    assert outcome(match_coco(records), 0) == 'F'
    neighbour = one_image([([6, 5, 6, 5], 0.9, 0)], [(pixel, 0, False)])
    assert outcome(match_voc(neighbour, iou_thr=0.01)) == 'F'


def test_pixel_convention_decides():
    # 10 x 5 of 10 x 10 pixels is exactly half in VOC; by COCO's widths it is 9 x 4 of 9 x 9.
    records = one_image([([10, 10, 19, 14], 0.9, 0)], [(BOX, 0, False)])
    assert outcome(match_voc(records)) == 'T'
    assert outcome(match_coco(records), 0) == 'F'
    # One row less in both: below one half.
    records = one_image([([10, 10, 19, 13], 0.9, 0)], [(BOX, 0, False)])
    assert outcome(match_voc(records)) == 'F'


def test_iou_of_exactly_the_threshold_is_a_match_in_coco():
    records = one_image([([0, 0, 10, 5], 0.9, 0)], [([0, 0, 10, 10], 0, False)])
    tp = match_coco(records).tp[:, 0]
    assert tp.tolist() == [True] + [False] * 9


def test_perfect_box_reaches_iou_one_in_coco():
    records = one_image([(BOX, 0.9, 0)], [(BOX, 0, False)])
    assert match_coco(records, [1.0]).tp.tolist() == [[True]]


def test_voc_takes_the_most_overlapped_object_even_if_it_is_gone():
    near, beside = [10, 10, 19, 19], [10, 12, 19, 21]  # IoU 80 / 120
    records = one_image([(near, 0.9, 0), (near, 0.8, 0)], [(near, 0, False), (beside, 0, False)])
    assert outcome(match_voc(records)) == 'TF'  # the second does not go on to `beside`
    coco = match_coco(records, [0.5])  # COCO's does, IoU 63 / 99
    assert outcome(coco, 0) == 'TT' and coco.gt_index.tolist() == [[0, 1]]


def test_voc_prefers_the_better_difficult_object_and_coco_the_counted_one():
    near, beside = [10, 10, 19, 19], [10, 12, 19, 21]
    records = one_image([(near, 0.9, 0)], [(near, 0, True), (beside, 0, False)])
    voc = match_voc(records)
    assert outcome(voc) == 'I' and voc.gt_index.tolist() == [0]
    coco = match_coco(records, [0.5, 0.9])
    assert outcome(coco, 0) == 'T' and outcome(coco, 1) == 'I'  # `beside` is not enough at 0.9
    assert coco.gt_index.tolist() == [[1], [0]]


def test_equal_overlaps():
    # In VOC the counted one of two equal boxes comes first, wherever it stands.
    records = one_image([(BOX, 0.9, 0)], [(BOX, 0, True), (BOX, 0, False)])
    assert match_voc(records).gt_index.tolist() == [1] and outcome(match_voc(records)) == 'T'
    two = one_image([(BOX, 0.9, 0), (BOX, 0.8, 0)], [(BOX, 0, False), (BOX, 0, False)])
    assert match_voc(two).gt_index.tolist() == [0, -1]
    # COCOeval looks at all and keeps the last.
    assert match_coco(two, [0.5]).gt_index.tolist() == [[1, 0]]


def test_coco_chooses_at_each_threshold_apart():
    objects = [([0, 0, 10, 10], 0, False), ([0, 0, 10, 8], 0, False)]
    records = one_image([([0, 0, 10, 9], 0.9, 0), ([0, 0, 10, 10], 0.8, 0)], objects)
    coco = match_coco(records, [0.5, 0.95])
    # IoU 0.9 with the first object, 8/9 with the second: the first one is taken, at 0.5 only.
    assert coco.gt_index.tolist() == [[0, 1], [-1, 0]]


def test_coco_counts_the_best_max_dets_of_image_and_class():
    records = DetectionRecords.from_lists(
        ['cat', 'dog'],
        ['a', 'b'],
        det=[([FAR, BOX, FAR], [0.3, 0.2, 0.9], [0, 0, 0]), ([BOX], [0.1], [1])],
        gt=[([BOX], [0], [False]), ([BOX], [1], [False])],
    )
    assert outcome(match_coco(records, [0.5], max_dets=2), 0) == 'FFIT'
    assert outcome(match_coco(records, [0.5], max_dets=3), 0) == 'FFTT'


def test_shapes_of_a_random_set():
    records = random_records(3, num_images=20)
    voc, coco = match_voc(records), match_coco(records)
    count = len(records.det_scores)
    assert sorted(voc.order.tolist()) == list(range(count))
    assert coco.tp.shape == coco.fp.shape == coco.gt_index.shape == (len(COCO_IOU_THRS), count)
    for k in range(len(records.classes)):
        scores = voc.scores[voc.starts[k] : voc.starts[k + 1]]
        assert (np.diff(scores) <= 0).all()
        assert (voc.labels[voc.starts[k] : voc.starts[k + 1]] == k).all()
    for matches in (voc, coco):
        image = np.broadcast_to(matches.images, matches.gt_index.shape)
        label = np.broadcast_to(matches.labels, matches.gt_index.shape)
        hit = matches.gt_index >= 0
        assert hit.any()
        assert (records.gt_images[matches.gt_index[hit]] == image[hit]).all()
        assert (records.gt_labels[matches.gt_index[hit]] == label[hit]).all()
        assert (hit[matches.tp]).all() and not hit[matches.fp].any()


@BOTH
def test_bad_records_are_refused(match):
    good = one_image([(BOX, 0.9, 0)], [(BOX, 0, False)])
    with pytest.raises(ValueError, match='detection has label 7, but there are 1 classes'):
        match(replace(good, det_labels=np.array([7], np.int32)))
    with pytest.raises(ValueError, match='object has label -1'):
        match(replace(good, gt_labels=np.array([-1], np.int32)))
    with pytest.raises(
        ValueError, match=r'det_scores has 1 values that are not finite \(such as nan'
    ):
        match(replace(good, det_scores=np.array([np.nan], np.float32)))
    with pytest.raises(ValueError, match='det_boxes has 4 values'):
        match(replace(good, det_boxes=np.full((1, 4), np.inf, np.float32)))


def test_no_thresholds_are_refused():
    with pytest.raises(ValueError, match='iou_thrs is empty'):
        match_coco(one_image([], []), [])
