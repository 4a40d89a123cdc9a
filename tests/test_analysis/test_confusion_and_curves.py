# SPDX-License-Identifier: Apache-2.0
"""Confusion matrices out of predictions, and curves out of logs."""

import csv
import json
import pickle

import numpy as np
import pytest
from PIL import Image
from small_voc import run_tool

from mmdet_mobilenext.analysis.confusion_report import write_confusion
from mmdet_mobilenext.analysis.log_curves import curve_figure, read_curve
from mmdet_mobilenext.analysis.pictures import save_figure
from mmdet_mobilenext.engine.environment import OptionError
from mmdet_mobilenext.evaluation.records import DetectionRecords, RecordsFileError


def records():
    """A cat found, a dog taken for a cat, a dog missed, and a dog where nothing is."""
    return DetectionRecords.from_lists(
        ['cat', 'dog'],
        ['a'],
        det=[([[0, 0, 9, 9], [20, 0, 29, 9], [80, 0, 89, 9]], [0.9, 0.8, 0.4], [0, 0, 1])],
        gt=[([[0, 0, 9, 9], [20, 0, 29, 9], [50, 0, 59, 9]], [0, 1, 1], [False] * 3)],
    )


def test_table_and_picture_of_a_confusion(tmp_path):
    table, picture = write_confusion(records(), tmp_path, 'mine')
    rows = list(csv.reader(table.open()))
    assert rows == [
        ['object', 'cat', 'dog', '(missed)'],
        ['cat', '1', '0', '0'],
        ['dog', '1', '0', '1'],
        ['(no object)', '0', '1', '0'],
    ]
    svg = picture.read_text()
    assert svg.count('<svg') == 1 and 'mine' in svg and '50' in svg
    counts = list(csv.reader(write_confusion(records(), tmp_path, 'mine', 0.5)[0].open()))
    assert counts[3] == ['(no object)', '0', '0', '0']
    with pytest.raises(OptionError, match=r'score_thr must be in \[0, 1\], but received 30'):
        write_confusion(records(), tmp_path, 'mine', score_thr=30)


def test_the_tool_reads_records_and_no_pickles(tmp_path):
    predictions = tmp_path / 'predictions.npz'
    records().save(predictions)
    done = run_tool('analysis/confusion_matrix.py', predictions, tmp_path / 'out')
    assert 'confusion.csv' in done.stdout and (tmp_path / 'out/confusion.svg').exists()
    pickled = tmp_path / 'predictions.pkl'
    pickled.write_bytes(pickle.dumps([1]))
    with pytest.raises(RecordsFileError, match='is no file of detections'):
        DetectionRecords.load(pickled)


def write_log(folder, *entries):
    """A log as mmengine writes it."""
    place = folder / '20260101_000000/vis_data'
    place.mkdir(parents=True)
    (place / 'scalars.json').write_text('\n'.join(map(json.dumps, entries)) + '\n')
    return folder


def training(iteration, loss, **more):
    return dict(loss=loss, lr=0.1, iter=iteration, step=iteration, **more)


def test_curves_of_epochs_and_of_iterations(tmp_path):
    by_epoch = write_log(
        tmp_path / 'a',
        training(10, 4.0, epoch=1),
        training(20, 3.0, epoch=2),
        {'pascal_voc/mAP': 0.5, 'step': 2},
    )
    assert read_curve(by_epoch, 'loss') == [(10, 4.0), (20, 3.0)]
    assert read_curve(by_epoch, 'mAP') == read_curve(by_epoch, 'pascal_voc/mAP') == [(20, 0.5)]
    by_iteration = write_log(
        tmp_path / 'b',
        training(10, 4.0),
        {'pascal_voc/mAP': 0.25, 'step': 10},
        training(20, 2.0),
        {'pascal_voc/mAP': 0.5, 'step': 20},
    )
    assert read_curve(by_iteration, 'mAP') == [(10, 0.25), (20, 0.5)]
    path = tmp_path / 'curves.png'
    save_figure(curve_figure([by_epoch, by_iteration], ['loss', 'mAP'], ['one', 'two']), path)
    with Image.open(path) as image:
        assert image.size[0] == 880 and np.asarray(image.convert('L')).std() > 10


def test_what_a_kill_made_twice_is_there_once(tmp_path):
    folder = write_log(tmp_path, training(10, 4.0), training(20, 3.0), training(30, 9.0))
    later = folder / '20260102_000000/vis_data'
    later.mkdir(parents=True)
    (later / 'scalars.json').write_text(json.dumps(training(20, 2.5)) + '\n{"loss": 1')
    assert read_curve(folder, 'loss') == [(10, 4.0), (20, 2.5)]


def test_missing_logs_quantities_and_names_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='has no log of a training'):
        read_curve(tmp_path, 'loss')
    folder = write_log(tmp_path / 'a', training(10, 4.0))
    with pytest.raises(OptionError, match=r"no 'acc', but \['iter', 'loss', 'lr', 'step'\]"):
        read_curve(folder, 'acc')
    with pytest.raises(OptionError, match='1 folders need as many names'):
        curve_figure([folder], ['loss'], ['a', 'b'])
