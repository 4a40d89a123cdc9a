# SPDX-License-Identifier: Apache-2.0
"""The demo with a detector that needs no model."""

from __future__ import annotations

import csv
import json
import signal

import cv2
import numpy as np
import pytest
from small_video import CLASSES, FakeDetector, damage, make_video
from without_torch import start_without_torch

from mmdet_mobilenext.datasets.generated_scenes import make_scene
from mmdet_mobilenext.demo import run
from mmdet_mobilenext.demo.errors import DemoError
from mmdet_mobilenext.demo.inputs import find_inputs
from mmdet_mobilenext.demo.records import CsvRecords, JsonRecords
from mmdet_mobilenext.demo.run import Demo
from mmdet_mobilenext.demo.unfinished import remove_leftovers
from mmdet_mobilenext.demo.video_reader import VideoReader
from mmdet_mobilenext.runtime.backends import model_files
from mmdet_mobilenext.runtime.images import IMAGE_SUFFIXES


@pytest.fixture
def folder(tmp_path):
    """Images of several formats, one of them damaged, and a video."""
    folder = tmp_path / 'in'
    (folder / 'süb').mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ('a.jpg', 'b.png', 'süb/a.jpg'):
        image = make_scene(rng, (64, 80), False).image.astype(np.uint8)
        (folder / name).write_bytes(cv2.imencode(name[-4:], image)[1].tobytes())
    (folder / 'cut.jpg').write_bytes((folder / 'a.jpg').read_bytes()[:500])
    make_video(folder / 'clip.mp4', 8)
    return folder


def start(folder, detector=None, *, inputs=None, **options):
    reports = []
    options.setdefault('report', reports.append)
    demo = Demo(detector or FakeDetector(), folder.parent / 'out', **options)
    return demo.run(find_inputs(list(map(str, inputs or [folder])))), reports


def files_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*.*'))


def test_pictures_and_videos_are_drawn(folder):
    before = {path: path.read_bytes() for path in folder.rglob('*.*')}
    summary, reports = start(folder)
    out = folder.parent / 'out'
    assert files_below(out) == ['a.jpg', 'b.png', 'clip.mp4', 'süb/a.jpg']
    for name in ('a.jpg', 'b.png'):
        drawn, plain = cv2.imread(str(out / name)), cv2.imread(str(folder / name))
        assert drawn.shape == plain.shape
        assert np.abs(drawn[:, :8].astype(int) - plain[:, :8]).max() > 60, 'a box'
    frames = [frame.image for frame in VideoReader(out / 'clip.mp4')]
    assert len(frames) == 8
    assert (summary.images, summary.videos, summary.frames, summary.objects) == (3, 1, 8, 11)
    assert summary.unreadable == [str(folder / 'cut.jpg')] and summary.exit_code() == 0
    assert len(reports) == 1 and 'cut.jpg' in reports[0]
    assert str(summary).startswith('3 images and 8 frames of 1 video: 11 objects')
    assert '1 could not be read' in str(summary)
    assert before == {path: path.read_bytes() for path in folder.rglob('*.*')}
    assert files_below(folder.parent) == sorted(
        f'{root.name}/{name}' for root in (folder, out) for name in files_below(root)
    )


def test_json_and_csv_say_the_same(folder):
    out = folder.parent
    start(folder, draw=False, json_file=out / 'o.json', csv_file=out / 'o.csv', score_thr=0.05)
    content = json.loads((out / 'o.json').read_text())
    assert content['classes'] == list(CLASSES)
    files = [str(folder / name) for name in ('a.jpg', 'b.png', 'süb/a.jpg')]
    assert [entry['file'] for entry in content['images']] == files + [str(folder / 'clip.mp4')] * 8
    height, width = cv2.imread(files[0]).shape[:2]
    assert content['images'][0] == dict(
        file=files[0],
        width=width,
        height=height,
        detections=[
            dict(label='bicycle', score=0.9, box=[4.0, 20.0, width - 4.0, height - 4.0]),
            dict(label='boat', score=0.1, box=[1.0, 1.0, 9.0, 9.0]),
        ],
    )
    video = content['images'][3:]
    assert [entry['frame'] for entry in video] == list(range(8))
    assert [entry['time'] for entry in video] == pytest.approx([k / 25 for k in range(8)])
    with open(out / 'o.csv', newline='', encoding='utf-8') as file:
        rows = list(csv.DictReader(file))
    told = [
        (entry['file'], str(entry.get('frame', '')), found['label'], *map(str, found['box']))
        for entry in content['images']
        for found in entry['detections']
    ]
    keys = ('file', 'frame', 'label', 'x1', 'y1', 'x2', 'y2')
    assert [tuple(row[key] for key in keys) for row in rows] == told
    assert not (out / 'out').exists(), 'nothing to draw, no folder'


def test_json_lines(folder):
    start(folder, draw=False, json_file=folder.parent / 'o.jsonl', inputs=[folder / 'clip.mp4'])
    lines = (folder.parent / 'o.jsonl').read_text().splitlines()
    assert [json.loads(line)['frame'] for line in lines] == list(range(8))


def test_detections_reach_the_disk_while_the_work_goes_on(tmp_path):
    found = FakeDetector()(np.zeros((32, 32, 3), np.uint8))
    for kind, more in ((JsonRecords, [CLASSES]), (CsvRecords, [])):
        with kind(tmp_path / 'o.out', *more) as records:
            for k in range(3000):
                records.add('a.mp4', found, k, k / 25)
            (unfinished,) = tmp_path.glob('.*.tmp')
            assert unfinished.stat().st_size > 200_000
        assert not list(tmp_path.glob('.*.tmp'))


def test_batches_find_the_same(folder):
    detectors = FakeDetector(), FakeDetector()
    for number, detector in enumerate(detectors):
        file = folder.parent / f'{number}.json'
        start(folder, detector, draw=False, json_file=file, batch_size=1 + 2 * number)
    assert detectors[0].batches == [1] * 11 and detectors[1].batches == [3, 3, 3, 2]
    one, three = ((folder.parent / f'{number}.json').read_text() for number in range(2))
    assert one == three


def test_classes_and_scores_select(folder):
    assert start(folder, score_thr=0.05, classes=['boat'], draw=False)[0].objects == 11
    assert start(folder, score_thr=0.95, draw=False)[0].objects == 0
    with pytest.raises(DemoError, match='has no class dog; it has aeroplane, bicycle, boat'):
        start(folder, classes=['dog', 'boat'])


@pytest.mark.parametrize('options', [dict(score_thr=2), dict(batch_size=0), dict(max_frames=0)])
def test_numbers_out_of_range_are_refused(folder, options):
    with pytest.raises(DemoError, match=next(iter(options))):
        start(folder, **options)


def test_names_that_collide_are_numbered(folder):
    inputs = [folder / 'a.jpg', folder / 'süb' / 'a.jpg', folder / 'clip.mp4']
    make_video(folder / 'süb/clip.mp4', 2)
    summary, _ = start(folder, inputs=[*inputs, folder / 'süb/clip.mp4'])
    assert files_below(folder.parent / 'out') == ['a.jpg', 'a_2.jpg', 'clip.mp4', 'clip_2.mp4']
    assert summary.videos == 2


def test_inputs_are_never_replaced(folder):
    before = (folder / 'a.jpg').read_bytes()
    demo = Demo(FakeDetector(), folder, report=lambda line: None)
    demo.run(find_inputs([str(folder / 'a.jpg')]))
    assert (folder / 'a.jpg').read_bytes() == before and (folder / 'a_2.jpg').is_file()


def test_outputs_do_not_replace_the_model(folder):
    files = [folder / 'model.param', folder / 'model.json', folder / 'config.py']
    for file in files:
        file.write_text('kept')
    inputs = find_inputs([str(folder / 'a.jpg')])
    keep = [*model_files(files[0]), files[2]]
    for file in files:
        demo = Demo(FakeDetector(), folder / 'out', json_file=file, keep=keep, draw=False)
        with pytest.raises(DemoError, match='would replace a file of the model'):
            demo.run(inputs)
        assert file.read_text() == 'kept'


def test_outputs_do_not_replace_inputs_or_each_other(folder):
    for file in (folder / 'a.jpg', folder.parent / 'o.csv'):
        with pytest.raises(DemoError, match='would replace an input or the other output'):
            start(folder, json_file=file, csv_file=folder.parent / 'o.csv')
    assert not (folder.parent / 'out').exists()


def test_a_folder_for_json_or_csv_is_refused_before_the_work(folder):
    detector = FakeDetector()
    for option in ('json_file', 'csv_file'):
        with pytest.raises(DemoError, match='in is a folder: give the name of a file'):
            start(folder, detector, **{option: folder})
    assert not (folder.parent / 'out').exists()


def test_records_that_cannot_take_their_place_leave_nothing(tmp_path):
    (tmp_path / 'o.csv').mkdir()
    with pytest.raises(OSError), CsvRecords(tmp_path / 'o.csv'):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ['o.csv']


def test_streams_without_an_end_come_one_at_a_time(folder):
    with pytest.raises(DemoError, match=r'video0 and .*video1 have no end: give one at a time'):
        start(folder, inputs=['0', '1'])


def test_images_without_objects_are_written_as_they_are(folder):
    start(folder, score_thr=0.95, inputs=[folder / 'b.png'])
    same = cv2.imread(str(folder / 'b.png')) == cv2.imread(str(folder.parent / 'out/b.png'))
    assert same.all()


@pytest.mark.parametrize('suffix', IMAGE_SUFFIXES)
def test_every_kind_of_image_is_written(folder, suffix):
    image = (folder / f'of_any_kind{suffix}').absolute()
    image.write_bytes((folder / 'a.jpg').read_bytes())
    assert start(folder, inputs=[image])[0].images == 1
    (drawn,) = (folder.parent / 'out').iterdir()
    assert cv2.imread(str(drawn)).shape == cv2.imread(str(folder / 'a.jpg')).shape
    assert drawn.suffix == suffix or suffix == '.mpo'


def test_what_a_format_cannot_hold_is_told(folder):
    wide = np.zeros((1, 20_000, 3), np.uint8)
    (folder / 'wide.webp').write_bytes(cv2.imencode('.png', wide)[1].tobytes())
    with pytest.raises(DemoError, match=r'wide\.webp cannot be encoded'):
        start(folder, inputs=[folder / 'wide.webp'])
    assert not files_below(folder.parent / 'out')


def test_names_that_are_no_unicode_are_escaped(folder):
    name = b'\xff.jpg'.decode('utf-8', 'surrogateescape')
    detector = FakeDetector()
    detector.classes = ('\ud800', *CLASSES[1:])
    (folder / name).write_bytes((folder / 'a.jpg').read_bytes())
    files = dict(json_file=folder.parent / 'o.json', csv_file=folder.parent / 'o.csv')
    start(folder, detector, inputs=[folder / name], draw=False, **files)
    content = json.loads((folder.parent / 'o.json').read_text(encoding='utf-8'))
    assert content['images'][0]['file'] == str(folder / name)
    assert content['classes'] == list(detector.classes)
    assert r'\udcff.jpg' in (folder.parent / 'o.csv').read_text(encoding='utf-8')


def test_nothing_readable_is_a_failure(folder):
    (folder / 'none.mp4').write_bytes(b'no video')
    summary, reports = start(folder, inputs=[folder / 'cut.jpg', folder / 'none.mp4'])
    assert summary.exit_code() == 1 and len(summary.unreadable) == 2
    assert 'none.mp4 cannot be opened' in reports[1]
    assert str(summary).startswith('0 images: 0 objects')


def test_damage_in_a_video_is_counted(folder):
    damage(make_video(folder / 'broken.mp4', 30), [13])
    summary, reports = start(folder, inputs=[folder / 'broken.mp4'])
    assert summary.damaged >= 1 and summary.frames == 30 - summary.damaged
    assert 'broken.mp4: frame 13 at 0.520 s is damaged' in reports[0]
    assert 'damaged frame' in str(summary)
    times = [frame.time for frame in VideoReader(folder.parent / 'out/broken.mp4')]
    kept = [k / 25 for k in range(30) if not 13 <= k < 13 + summary.damaged]
    assert times == pytest.approx(kept, abs=1e-4), 'the others keep their times'


def test_max_frames(folder):
    assert start(folder, inputs=[folder / 'clip.mp4'], max_frames=3)[0].frames == 3


def test_real_time_drops_frames_of_a_slow_detector(folder):
    import time

    detector = FakeDetector(lambda image: time.sleep(0.12))
    summary, _ = start(folder, detector, inputs=[folder / 'clip.mp4'], realtime=True)
    assert summary.frames + summary.dropped == 8 and summary.dropped >= 2
    assert 'late frames dropped' in str(summary)


@pytest.mark.parametrize('batch_size', [1, 2])
def test_ctrl_c_keeps_what_was_done(folder, batch_size):
    seen = []

    def work(image):
        seen.append(1)
        if len(seen) == 6:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    out = folder.parent
    summary, _ = start(folder, FakeDetector(work), json_file=out / 'o.json', batch_size=batch_size)
    assert summary.exit_code() == 128 + signal.SIGINT and 'stopped by SIGINT' in str(summary)
    assert 6 <= summary.images + summary.frames <= 7
    done = len(json.loads((out / 'o.json').read_text())['images'])
    assert done == summary.images + summary.frames
    assert len(list(VideoReader(out / 'out/clip.mp4'))) == summary.frames
    assert signal.getsignal(signal.SIGINT) is before


def test_a_detector_that_fails_leaves_no_half_files(folder):
    seen = []

    def work(image):
        seen.append(1)
        if len(seen) == 6:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        start(folder, FakeDetector(work), json_file=folder.parent / 'out/o.json')
    assert files_below(folder.parent / 'out') == ['a.jpg', 'b.png', 'süb/a.jpg']


class FakePreview:
    """A window that is closed at its third picture."""

    def __init__(self):
        self.waits, self.open = [], True

    def show(self, image, wait_until=None):
        self.waits.append(wait_until is not None)
        return len(self.waits) < 3

    def close(self):
        self.open = False


def test_closing_the_window_ends_the_work(folder, monkeypatch):
    preview = FakePreview()
    monkeypatch.setattr(run, 'Preview', lambda: preview)
    inputs = [folder / 'a.jpg', folder / 'clip.mp4']
    summary, _ = start(folder, show=True, draw=False, inputs=inputs)
    assert preview.waits == [True, False, False] and not preview.open
    assert (summary.images, summary.frames) == (1, 2) and summary.exit_code() == 0


KILLED = """
import signal
from small_video import FakeDetector
from mmdet_mobilenext.demo.inputs import find_inputs
from mmdet_mobilenext.demo.records import CsvRecords, JsonRecords
from mmdet_mobilenext.demo.run import Demo
seen = []
def work(image):
    seen.append(1)
    if len(seen) == 5:
        signal.raise_signal(signal.SIGKILL)
demo = Demo(FakeDetector(work), sys.argv[2], json_file=sys.argv[2] + '/o.json')
demo.run(find_inputs([sys.argv[1]]))
"""


def test_a_killed_run_leaves_no_half_file_under_its_name(folder):
    out = folder.parent / 'out'
    process = start_without_torch(KILLED, folder / 'clip.mp4', out)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, stderr
    left = list(out.iterdir())
    assert left and all(path.suffix == '.tmp' for path in left)
    remove_leftovers(out)
    assert not list(out.iterdir())
