# SPDX-License-Identifier: Apache-2.0
"""The detector of exported files: inputs, batches, threads, thresholds, errors."""

import concurrent.futures
import subprocess
import sys

import cv2
import numpy as np
import pytest
from small_runtime_model import BOXES, CLASSES, small_spec, write_small_model

from mmdet_mobilenext.runtime import Detector, ImageError, ModelFileError, RuntimeMissingError

BACKENDS = ('onnxruntime', 'openvino')


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    return write_small_model(tmp_path_factory.mktemp('model') / 'small.onnx')


@pytest.fixture(scope='module')
def detector(path):
    return Detector(path, threads=1)


def plain(blue, green, red, width=64, height=144):
    return np.full((height, width, 3), (blue, green, red), np.uint8)


@pytest.mark.parametrize('backend', BACKENDS)
def test_detections_of_a_plain_image(path, backend):
    found = Detector(path, backend, threads=1)(plain(255, 0, 102))
    # twice as wide and three times as high as the input; the second box is suppressed by the first
    order = [0, 2, 0, 2, 3]
    np.testing.assert_allclose(found.boxes, BOXES[order] * [2, 3, 2, 3], rtol=1e-6)
    np.testing.assert_allclose(found.scores, [1, 0.5, 0.4, 0.2, 0.1], rtol=1e-6)
    assert found.labels.tolist() == [0, 0, 2, 2, 0] and found.labels.dtype == np.int64
    assert found.boxes.dtype == found.scores.dtype == np.float32
    assert found.names()[0] == 'blue' and found.size == (64, 144) and len(found) == 5


def test_rgb_files_take_bgr_images(tmp_path):
    path = write_small_model(tmp_path / 'rgb.onnx', color='rgb', classes=CLASSES[::-1])
    assert Detector(path)(plain(255, 0, 0)).names()[0] == 'blue'


def test_arrays_bytes_and_paths_are_the_same(detector, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    data = cv2.imencode('.png', image)[1].tobytes()
    file = tmp_path / 'image.png'
    file.write_bytes(data)
    wanted = detector(image).records()
    assert wanted
    for other in (data, bytearray(data), file, str(file), image[:, ::-1][:, ::-1]):
        assert detector(other).records() == wanted
    many = detector([image, data, file, plain(0, 255, 0)])
    assert [found.records() for found in many[:3]] == [wanted] * 3
    assert many[3].names()[0] == 'green' and many[3].size == (64, 144)
    assert detector([]) == [] and len(detector((image,))) == 1


@pytest.mark.parametrize('batch', [1, 2, 3, None])
@pytest.mark.parametrize('backend', BACKENDS)
def test_batches_of_any_number(tmp_path, backend, batch):
    detector = Detector(write_small_model(tmp_path / 'b.onnx', batch=batch), backend, threads=1)
    colors = [(255, 0, 0), (0, 250, 0), (0, 0, 200), (9, 120, 7), (30, 40, 50)]
    found = detector([plain(*color) for color in colors])
    assert [f.records() for f in found] == [detector(plain(*color)).records() for color in colors]
    assert [f.names()[0] for f in found] == ['blue', 'green', 'red', 'green', 'red']


@pytest.mark.parametrize('backend', BACKENDS)
def test_threads_get_their_own_results(path, backend):
    detector = Detector(path, backend, threads=1)
    images = [plain(i, 255 - i, 3 * i % 256) for i in range(0, 256, 4)]
    wanted = [detector(image).records() for image in images]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda image: detector(image).records(), images * 4))
    assert found == wanted * 4


def test_thresholds(path):
    low, high = Detector(path), Detector(path, score_thr=0.3)
    image = plain(255, 0, 102)
    assert high(image).records() == low(image).above(0.3).records()
    for value in (0.01, 1.5, float('nan')):
        with pytest.raises(ValueError, match=r'score_thr must be from 0\.05 .* to 1'):
            Detector(path, score_thr=value)
    with pytest.raises(ValueError, match='threads must be at least 1, but received 0'):
        Detector(path, threads=0)


def test_threads_that_would_fill_the_memory_are_refused_before_loading(path, monkeypatch):
    monkeypatch.setattr('mmdet_mobilenext.runtime.detector.open_model', None)  # not reached
    with pytest.raises(ValueError, match=r'threads must be at most \d+, but received 1000000'):
        Detector(path, threads=1_000_000)


@pytest.mark.parametrize(
    ('image', 'said'),
    [
        (np.zeros((4, 4), np.uint8), r'received uint8 \(4, 4\)'),
        (np.zeros((4, 4, 4), np.uint8), r'received uint8 \(4, 4, 4\)'),
        (np.zeros((4, 4, 3), np.float32), r'received float32 \(4, 4, 3\)'),
        (np.zeros((0, 4, 3), np.uint8), r'received uint8 \(0, 4, 3\)'),
        (np.zeros((2, 4, 4, 3), np.uint8), r'received uint8 \(2, 4, 4, 3\)'),
        (None, r'received a builtins\.NoneType \(cv2\.imread returns None'),
        (7, r'received a builtins\.int'),
        ({}, r'received a builtins\.dict'),
        (b'', 'empty'),
        (b'no image', 'is no image of a known format'),
    ],
)
def test_wrong_images(detector, image, said):
    with pytest.raises(ImageError, match=said):
        detector(image)
    with pytest.raises(ImageError, match=rf'^image 1 of 2: .*{said}'):
        detector([plain(0, 0, 0), image])


def test_wrong_batches(detector):
    for batch in (
        np.zeros((1, 32, 48, 3), np.uint8),
        np.zeros((1, 48, 32, 3)),
        np.zeros((48, 32, 3)),
    ):
        with pytest.raises(ImageError, match=r'a batch must be uint8 \(N, 48, 32, 3\)'):
            detector.run(batch)
    assert detector.run(np.zeros((0, 48, 32, 3), np.uint8)) == []


def test_files_that_are_not_what_they_say(tmp_path):
    other = write_small_model(tmp_path / 'a.onnx', classes=('one', 'two'))
    with pytest.raises(ModelFileError, match='scores of 3 classes, but names of 2'):
        Detector(other)(plain(9, 9, 9))
    other = write_small_model(tmp_path / 'b.onnx', num_boxes=3)
    with pytest.raises(ModelFileError, match=r'gives outputs of shapes .* for 1 images'):
        Detector(other)(plain(9, 9, 9))
    other = write_small_model(tmp_path / 'c.onnx', kind='detections')
    with pytest.raises(ModelFileError, match=r"must have .*'labels'"):
        Detector(other)


@pytest.mark.parametrize('backend', BACKENDS)
def test_a_file_of_another_size_than_it_says(tmp_path, backend):
    import onnx

    from mmdet_mobilenext.runtime.spec import KEY

    path = write_small_model(tmp_path / 'd.onnx')
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {KEY: small_spec(size=(40, 40)).to_json()})
    onnx.save(model, path)
    with pytest.raises(ModelFileError, match=r'd\.onnx cannot be run'):
        Detector(path, backend)(plain(9, 9, 9))


def test_which_files_and_backends(path, tmp_path):
    with pytest.raises(ValueError, match=r"backend must be one of .* received 'tensorrt'"):
        Detector(path, 'tensorrt')
    with pytest.raises(ModelFileError, match=r'cannot be run by ncnn, which takes \.param'):
        Detector(path, 'ncnn')
    for name, content in (('a.pth', b''), ('b.onnx', b'nothing'), ('c.xml', b'<net/>')):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelFileError, match=name):
            Detector(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r'none\.onnx'):
        Detector(tmp_path / 'none.onnx')
    with pytest.raises(FileNotFoundError, match='is a folder'):
        Detector(tmp_path)


def test_a_file_of_another_program_is_named(path, tmp_path):
    import onnx

    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / 'other.onnx')
    for backend in BACKENDS:
        with pytest.raises(ModelFileError, match=r'other\.onnx has no metadata'):
            Detector(tmp_path / 'other.onnx', backend)


def test_a_missing_runtime_is_named(path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    monkeypatch.delitem(sys.modules, 'mmdet_mobilenext.runtime.backends.onnxruntime_backend', False)
    with pytest.raises(RuntimeMissingError, match='pip install onnxruntime'):
        Detector(path)


def test_training_packages_are_not_imported(path):
    code = (
        'import sys\n'
        'for name in ("torch", "mmcv", "mmengine", "mmdet", "torchvision"):\n'
        '    sys.modules[name] = None\n'
        'from mmdet_mobilenext.runtime import Detector\n'
        'import numpy\n'
        'print(len(Detector(sys.argv[1], threads=1)(numpy.full((9, 9, 3), 200, "uint8"))))'
    )
    done = subprocess.run([sys.executable, '-c', code, str(path)], capture_output=True, text=True)
    assert done.stdout.strip() == '5', done.stderr
