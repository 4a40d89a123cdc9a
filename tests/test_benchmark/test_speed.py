# SPDX-License-Identifier: Apache-2.0
"""The speed benchmark: rounds, ratios, growth, loaders. No timing is asserted."""

import json
import time

import numpy as np
import pytest
import torch

from mmdet_mobilenext.benchmark.errors import BenchmarkError
from mmdet_mobilenext.benchmark.speed import make_batch, time_interleaved
from mmdet_mobilenext.benchmark.speed.growth_rows import GrowthRow
from mmdet_mobilenext.benchmark.speed.loaders import PREFETCH, BlockLoader
from mmdet_mobilenext.benchmark.speed.report import growth_tables, loss_shares, series_tables
from mmdet_mobilenext.benchmark.speed.time_to_map import parse_work_dirs, time_to_map
from mmdet_mobilenext.benchmark.speed.timing import (
    Series,
    as_series,
    growth_exponent,
    run_rounds,
    speed_ratio,
)


def test_runs_alternate():
    calls = []
    times = time_interleaved(
        [lambda: calls.append('a'), lambda: calls.append('b')], runs=3, warm_up=1
    )
    assert calls == ['a', 'b'] * 4
    assert [len(t) for t in times] == [3, 3]


def test_rounds_alternate_and_one_that_fails_leaves_the_others_alone():
    calls, seen = [], []

    def runner(name, fails_at=99):
        def run():
            calls.append(name)
            if calls.count(name) == fails_at:
                raise RuntimeError('no memory')
            return float(len(calls))

        return run

    found = run_rounds(
        dict(a=runner('a'), b=runner('b', fails_at=2), c=runner('c')),
        rounds=2,
        progress=lambda *state: seen.append(state),
    )
    assert calls == ['a', 'b', 'c', 'a', 'b', 'c', 'a', 'c']
    assert found['a'] == [4.0, 7.0] and found['c'] == [6.0, 8.0]  # the warm-up is not counted
    assert seen == [(1, 3), (2, 3), (3, 3)]
    failed = as_series(found, 'step', 'training step', 8)[1]
    assert failed.error == 'RuntimeError: no memory' and failed.times == []
    assert 'raise RuntimeError' in failed.details


def test_ratio_is_taken_within_rounds():
    """A machine that is three times as slow in the second half changes no ratio."""
    base = Series('step', '', 'base', 8, [1.0, 1.0, 3.0, 3.0, 3.0])
    ours = Series('step', '', 'ours', 8, [0.5, 0.5, 1.5, 1.5, 1.5])
    assert speed_ratio(base, ours) == 2.0
    assert speed_ratio(base, Series('step', '', 'ours', 16, ours.times)) == 4.0
    assert speed_ratio(base, Series('step', '', 'ours', 8, error='failed')) is None


def test_p95_is_never_beyond_the_slowest_run():
    assert Series('step', '', 'a', 1, [1.0, 2.0]).p95 <= 2.0
    assert Series('step', '', 'a', 1, [3.0]).p95 == 3.0


@pytest.mark.parametrize('exponent', [0.0, 0.5, 1.0, 2.0])
def test_exponent_of_known_growth(exponent):
    points = [1, 3, 10, 30, 100, 300]
    assert growth_exponent(points, [7 * p**exponent for p in points]) == pytest.approx(exponent)


def test_exponent_of_the_largest_sizes_sees_growth_that_a_fixed_cost_hides():
    points = [1, 10, 100]
    row = GrowthRow('boxes', 'loss', 'a', points, [[5 + p**2 / 10] for p in points])
    assert row.exponent < 1.5 < row.last_exponent
    assert '1.' in growth_tables([row])[0]


def test_exponent_needs_two_points():
    with pytest.raises(ValueError, match='at least two points'):
        growth_exponent([1], [1.0])


def test_tables_name_the_failed():
    table = series_tables(
        [
            Series('step', 'training step', 'stock', 8, [0.2, 0.2]),
            Series('step', 'training step', 'ours', 8, [0.1, 0.1]),
            Series('step', 'training step', 'theirs', 8, error='RuntimeError: no memory\nmore'),
        ]
    )[0]
    rows = {c[1].strip(): c for c in (x.split('|') for x in table.splitlines()) if len(c) > 7}
    assert rows['ours'][4].strip() == '80.0' and rows['ours'][5].strip() == '2.00'
    assert rows['theirs'][2].strip() == 'failed' and 'no memory' in rows['theirs'][3]


def test_share_of_the_loss_is_one_of_the_same_round():
    steps = Series('step', '', 'a', 8, [1.0, 10.0, 100.0])
    losses = Series('loss', '', 'a', 8, [0.05, 0.5, 5.0])
    assert loss_shares([steps, losses]) == {'a': pytest.approx(0.05)}


class Recorder(torch.utils.data.Dataset):
    """Notes in a file what is loaded, also in workers."""

    def __init__(self, path):
        self.path = path

    def __len__(self):
        return 1000

    def __getitem__(self, index):
        with open(self.path, 'a') as file:
            file.write(f'{index}\n')
        return index

    def seen(self):
        return [int(line) for line in self.path.read_text().split()]


@pytest.mark.parametrize('workers', [0, 1])
def test_nothing_is_loaded_between_blocks(tmp_path, workers):
    """Or a block would begin with batches that were made at the cost of another."""
    dataset = Recorder(tmp_path / 'seen')
    loader = BlockLoader(dataset, range(1000), list, 2, workers, counted=3)
    used = []
    assert loader.run(used.append) > 0
    queue = PREFETCH * workers
    all_of_block = 2 * (queue + 1 + 3 + queue)
    assert dataset.seen() == list(range(all_of_block))
    time.sleep(0.2)
    assert len(dataset.seen()) == all_of_block
    assert [i for batch in used for i in batch] == list(
        range(2 * (queue + 1 + 3))
    )  # the tail is not used
    used.clear()
    loader.run(used.append)
    assert used[0] == [all_of_block, all_of_block + 1]
    assert dataset.seen() == list(range(2 * all_of_block))


def test_order_starts_again_when_it_is_used_up():
    seen = []
    BlockLoader(list(range(10)), [3, 5, 7], list, 2, 0, counted=1).run(seen.append)
    assert seen == [[3, 5], [7, 3]]


def test_empty_data_set_is_an_error():
    with pytest.raises(ValueError, match='no image to load'):
        BlockLoader([], [], list, 2, 0, counted=1)


def test_batch_looks_like_one_of_a_data_loader():
    batch = make_batch(2, (64, 96), num_boxes=5)
    assert [tuple(i.shape) for i in batch['inputs']] == [(3, 64, 96)] * 2
    assert batch['inputs'][0].dtype == torch.uint8
    boxes = batch['data_samples'][1].gt_instances.bboxes
    assert boxes.shape == (5, 4) and (boxes[:, 2:] - boxes[:, :2] >= 4).all()
    assert boxes[:, [0, 2]].max() <= 96 and boxes[:, [1, 3]].max() <= 64


def write_log(folder, entries, part='20260101_000000'):
    path = folder / part / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps(e) + '\n' for e in entries))


def training(iteration, seconds):
    return dict(loss=1.0, time=seconds, data_time=0.1, iter=iteration, step=iteration)


def test_time_to_map_is_that_of_the_first_validation_at_the_target(tmp_path):
    entries = [training(50, 1.0), training(100, 2.0), {'pascal_voc/mAP': 0.1, 'step': 100}]
    entries += [training(150, 1.0), training(200, 1.0), {'pascal_voc/mAP': 0.2, 'step': 200}]
    entries += [training(250, 1.0), training(300, 1.0), {'pascal_voc/mAP': 0.4, 'step': 300}]
    write_log(tmp_path, entries)
    found = time_to_map('a', tmp_path, 0.2)
    assert found['reached'] and found['iterations'] == 200
    assert found['seconds'] == 50 * 1 + 50 * 2 + 100
    assert found['trained_seconds'] == 350
    never = time_to_map('a', tmp_path, 0.5)
    assert not never['reached'] and never['seconds'] is None and never['best'] == 0.4


def test_time_to_map_counts_what_was_done_twice_once(tmp_path):
    write_log(tmp_path, [training(50, 1.0), training(100, 1.0)], 'a')
    write_log(tmp_path, [training(100, 3.0), {'pascal_voc/mAP': 0.3, 'step': 100}], 'b')
    assert time_to_map('a', tmp_path, 0.3)['seconds'] == 50 + 150


def test_time_to_map_without_a_log_is_an_error(tmp_path):
    with pytest.raises(BenchmarkError, match='no log of a training'):
        time_to_map('a', tmp_path, 0.2)
    with pytest.raises(BenchmarkError, match='NAME=DIR'):
        parse_work_dirs([str(tmp_path)])
    with pytest.raises(BenchmarkError, match='no folder'):
        parse_work_dirs([f'a={tmp_path / "none"}'])


def test_shift_lets_so_many_scores_pass():
    from mmdet_mobilenext.benchmark.speed.candidate import background_shift

    logits = torch.from_numpy(np.random.default_rng(0).normal(0, 1e-3, (2000, 21)))
    logits[:, 20] += background_shift(logits, 20, 0.01, wanted=300)
    assert int((logits.softmax(1)[:, :20] > 0.01).sum()) == 300
