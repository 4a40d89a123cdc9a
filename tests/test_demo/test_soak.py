# SPDX-License-Identifier: Apache-2.0
"""The soak test of the video path."""

from __future__ import annotations

import json
import signal

import pytest
from small_video import FakeDetector, make_video

from mmdet_mobilenext.demo.soak import soak, verdict_of


def rows_of(out_dir):
    return [json.loads(line) for line in (out_dir / 'soak.jsonl').read_text().splitlines()]


def test_a_short_run_writes_lines_a_video_and_a_verdict(tmp_path):
    video = make_video(tmp_path / 'a.mp4', 20)
    lines = []
    verdict = soak(
        video,
        FakeDetector(),
        tmp_path / 'out',
        minutes=1.2 / 60,
        every=0.25,
        fps=50,
        roll=0.3,
        report=lines.append,
    )
    rows = rows_of(tmp_path / 'out')
    assert [json.loads(line) for line in lines] == rows and len(rows) >= 3
    assert {'rss_mb', 'descriptors', 'threads', 'fps', 'lag_ms_max'} <= set(rows[0])
    last = rows[-1]
    assert last['read'] > 20, 'it is looped'
    assert last['processed'] == last['written'] > 0
    assert last['read'] - 2 <= last['processed'] + last['dropped'] <= last['read']
    assert verdict == json.loads((tmp_path / 'out/verdict.json').read_text())
    assert verdict['ended'] == 'time' and verdict['passed'] is not True, 'too short to tell'
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        *('soak.jsonl', 'soak.mp4', 'verdict.json')
    ]


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_a_verdict(tmp_path, number):
    seen = []

    def work(image):
        seen.append(1)
        if len(seen) == 3:
            signal.raise_signal(number)

    before = signal.getsignal(number)
    video = make_video(tmp_path / 'a.mp4', 10)
    verdict = soak(video, FakeDetector(work), tmp_path, fps=100, report=lambda line: None)
    assert verdict['ended'] == signal.Signals(number).name and verdict['processed'] == 3
    assert len(rows_of(tmp_path)) == 1 and (tmp_path / 'verdict.json').is_file()
    assert signal.getsignal(number) is before


def hours(count=25, **slopes):
    base = dict(
        frames_due=0,
        read=0,
        damaged=0,
        dropped=0,
        processed=0,
        written=0,
        reopened=0,
        lag_ms_median=20.0,
        lag_ms_max=40.0,
        fps=25.0,
        rss_mb=200.0,
        descriptors=9,
        threads=8,
    )
    rows = []
    for k in range(count):
        row = dict(base, elapsed_s=300.0 * k, frames_due=7500 * k, read=7500 * k)
        for key, per_hour in slopes.items():
            row[key] += per_hour * k / 12
        rows.append(row)
    return rows


def test_a_quiet_run_passes():
    verdict = verdict_of(hours())
    assert verdict['passed'] is True and not verdict['faults']
    assert verdict['memory_slope_mb_per_hour'] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ('slopes', 'fault'),
    [
        (dict(rss_mb=12.0), 'memory grows by 12.0 MB/h, above 5.0'),
        (dict(read=-60), 'frames behind the clock'),
        (dict(descriptors=6), 'open files grew from 9.5 to 21'),
        (dict(threads=6), 'threads grew'),
        (dict(lag_ms_median=2000.0), 'the lag grew to'),
    ],
)
def test_what_grows_is_a_fault(slopes, fault):
    verdict = verdict_of(hours(**slopes))
    assert verdict['passed'] is False
    assert len(verdict['faults']) == 1 and fault in verdict['faults'][0]


def test_the_warm_up_does_not_count():
    rows = hours()
    rows[0]['rss_mb'] = 20.0
    assert verdict_of(rows)['memory_slope_mb_per_hour'] == pytest.approx(0, abs=1e-6)
    assert verdict_of(rows, warm_up=0)['memory_slope_mb_per_hour'] > 5


def test_minutes_tell_nothing_about_memory():
    verdict = verdict_of(hours(3))
    assert verdict['memory_slope_mb_per_hour'] is None and verdict['passed'] is None
