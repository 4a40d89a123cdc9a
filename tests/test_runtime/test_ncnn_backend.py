# SPDX-License-Identifier: Apache-2.0
"""Running ncnn's files, and refusing those that are damaged or do not fit each other."""

import hashlib
import json
import re

import numpy as np
import pytest
from small_ncnn import BOXES, HAND_MADE, make_by_hand

from mmdet_mobilenext.runtime import Detector, ModelFileError

WHITE = np.full((16, 32, 3), 255, np.uint8)


@pytest.fixture
def path(tmp_path):
    return make_by_hand(tmp_path / 'small.param')


def change_spec(path, **changes):
    sidecar = path.with_suffix('.json')
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), **changes}))


def test_nms_and_the_pixels_of_the_image(path):
    found = Detector(path)(np.full((32, 96, 3), 255, np.uint8))
    assert found.names() == ['dog', 'cat']  # the second dog overlaps the first
    assert np.allclose(found.scores, [255 * 0.004, 255 * 0.002], atol=1e-5)
    assert np.allclose(found.boxes, BOXES[:2] * [3, 2, 3, 2])


def test_images_of_a_batch_are_kept_apart(path):
    images = [WHITE, WHITE // 2, np.zeros_like(WHITE)]
    many = Detector(path, threads=1)(images)
    assert [len(found) for found in many] == [2, 2, 0]
    assert np.allclose(many[1].scores * 255 / 127, many[0].scores)
    alone = Detector(path)(images[1])
    assert np.array_equal(alone.scores, many[1].scores)


def test_outputs_outlive_the_run(path):
    backend = Detector(path)._backend
    boxes, scores = backend(WHITE[None])
    kept = boxes.copy(), scores.copy()
    for _ in range(5):
        backend(WHITE[None] // 3)
    assert np.array_equal(boxes, kept[0]) and np.array_equal(scores, kept[1])
    assert boxes.shape == (1, 3, 4) and scores.shape == (1, 3, 2)


@pytest.mark.parametrize('suffix', ['.bin', '.json'])
def test_a_missing_part_is_named(path, suffix):
    path.with_suffix(suffix).unlink()
    with pytest.raises(ModelFileError, match=rf'needs small\{suffix} beside it'):
        Detector(path)


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        ('', 'it is not a text file of ncnn'),
        (HAND_MADE.replace('7767517', '7767518'), 'it does not begin with 7767517'),
        (HAND_MADE[: HAND_MADE.rindex('BinaryOp')], 'it should have 6 layers, but has 5'),
        (HAND_MADE.replace('6 6', 'six 6'), 'it is not a text file of ncnn'),
        (HAND_MADE.replace('0=32 1=16', '0=16 1=32'), 'its input is not of 32x16 pixels'),
        (HAND_MADE.replace('Reduction', 'Rejection'), 'ncnn cannot load'),
        (HAND_MADE.replace('row scores', 'row outcome'), "must have ['images', 'boxes', 'scores']"),
    ],
)
def test_a_damaged_network_is_refused(path, content, said):
    path.write_text(content)
    with pytest.raises(ModelFileError, match=re.escape(said)):
        Detector(path)


def test_binary_network_is_refused(path):
    path.write_bytes(b'\xff\xfe\x00' * 50)
    with pytest.raises(ModelFileError, match='it is not a text file of ncnn'):
        Detector(path)


@pytest.mark.parametrize('length', [0, 3, 50])
def test_truncated_weights_are_refused(path, length):
    weights = path.with_suffix('.bin')
    weights.write_bytes(weights.read_bytes()[:length])
    with pytest.raises(ModelFileError, match=r'ncnn cannot load .* with small\.bin'):
        Detector(path)


def test_weights_of_another_export_are_refused(path):
    sums = {
        part: hashlib.sha256(path.with_suffix(f'.{part}').read_bytes()).hexdigest()
        for part in ('param', 'bin')
    }
    change_spec(path, provenance=dict(sha256=sums))
    assert len(Detector(path)(WHITE)) == 2
    weights = path.with_suffix('.bin')
    weights.write_bytes(weights.read_bytes()[::-1])
    with pytest.raises(ModelFileError, match=r'small\.bin is damaged or of another export'):
        Detector(path)


@pytest.mark.parametrize('sums', ['none', {}, {'param': 1}])
def test_sums_that_are_none_are_refused(path, sums):
    change_spec(path, provenance=dict(sha256=sums))
    with pytest.raises(ModelFileError, match='is damaged or of another export'):
        Detector(path)


def test_damaged_metadata_is_refused(path):
    sidecar = path.with_suffix('.json')
    good = sidecar.read_bytes()
    for content in (b'', good[:-9], b'\xff' + good, b'[]', b'{}'):
        sidecar.write_bytes(content)
        with pytest.raises(ModelFileError, match=r'small\.json'):
            Detector(path)


def test_other_metadata_is_refused(path):
    change_spec(path, size=[16, 16])
    with pytest.raises(ModelFileError, match='its input is not of 16x16 pixels'):
        Detector(path)
    change_spec(path, size=[32, 16], kind='detections')
    with pytest.raises(ModelFileError, match="kind='detections': ncnn files are raw"):
        Detector(path)
    for classes, said in (
        (['a', 'b', 'c', 'd'], 'cannot be 4 columns'),
        (['a'], '3 boxes, but scores of 6'),
    ):
        change_spec(path, kind='raw', classes=classes)
        with pytest.raises(ModelFileError, match=said):
            Detector(path)(WHITE)
