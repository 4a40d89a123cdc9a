# SPDX-License-Identifier: Apache-2.0
"""The speed benchmark: that it measures what it says. No timing is asserted."""

import json

import pytest
import torch

from mmdet_mobilenext.benchmark.speed import (
    Timing,
    build_candidate,
    compare,
    make_batch,
    time_interleaved,
)
from mmdet_mobilenext.benchmark.speed_report import format_table, write_json


def test_runs_alternate():
    calls = []
    times = time_interleaved(
        [lambda: calls.append('a'), lambda: calls.append('b')], runs=3, warm_up=1
    )
    assert calls == ['a', 'b'] * 4
    assert [len(t) for t in times] == [3, 3]


def test_table_and_json(tmp_path):
    timings = [
        Timing('stock', 'train step', 8, 200.0, 220.0, 20),
        Timing('ours', 'train step', 8, 100.0, 110.0, 20),
    ]
    row = next(line for line in format_table(timings).splitlines() if 'ours' in line)
    assert row.split('|')[6].strip() == '0.50'
    write_json(tmp_path / 'out.json', 'a machine', timings)
    written = json.loads((tmp_path / 'out.json').read_text())
    assert written['machine'] == 'a machine'
    assert [t['median_ms'] for t in written['timings']] == [200.0, 100.0]


@pytest.mark.slow
def test_stock_and_ours_run_at_the_same_input(configs):
    """Also mmdet's stock head, whose predict() fails without help."""
    stock = build_candidate(
        'stock', 'mmdet::ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py', channels_last=False
    )
    ours = build_candidate('ours', str(configs / 'ssdlite_mobilenetv2_voc.py'))
    assert stock.model.bbox_head.num_classes == ours.model.bbox_head.num_classes == 20
    before = ours.model.backbone.conv1.conv.weight.clone()
    lines = []
    timings = compare([stock, ours], batch_sizes=(1, 2), runs=1, progress=lines.append)
    assert [(t.name, t.task, t.batch_size) for t in timings] == [
        (name, task, size)
        for task in ('train step', 'inference')
        for size in (1, 2)
        for name in ('stock', 'ours')
    ]
    assert all(t.median_ms > 0 for t in timings) and len(lines) == 4
    assert not torch.equal(before, ours.model.backbone.conv1.conv.weight)  # it really trained


def test_batch_looks_like_one_of_a_data_loader():
    batch = make_batch(2, 64, num_boxes=5)
    assert [tuple(i.shape) for i in batch['inputs']] == [(3, 64, 64)] * 2
    assert batch['inputs'][0].dtype == torch.uint8
    boxes = batch['data_samples'][1].gt_instances.bboxes
    assert (boxes[:, 2:] > boxes[:, :2]).all() and boxes.max() <= 64
