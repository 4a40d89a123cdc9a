# SPDX-License-Identifier: Apache-2.0
"""Reading images: the pixels of MMDetection, and nothing that harms."""

import io
import os
import re
import threading
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mmcv.transforms import LoadImageFromFile
from PIL import Image

from mmdet_mobilenext.runtime import ImageError, images, read_image
from mmdet_mobilenext.runtime.fuzzing.bombs import bombs, strangers, tiff
from mmdet_mobilenext.runtime.fuzzing.mutations import make_string
from mmdet_mobilenext.runtime.fuzzing.pictures import encode, valid_files
from mmdet_mobilenext.runtime.image_headers import FORMATS, read_header, still_png

VALID = valid_files()
fuzz = settings(
    max_examples=250,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.fixture
def picture() -> Image.Image:
    """A ramp; every row and column differs."""
    rows, columns = np.mgrid[0:20, 0:30]
    return Image.fromarray(np.stack([rows * 12, columns * 8, rows + columns], -1).astype(np.uint8))


@pytest.mark.parametrize('name', VALID)
def test_pixels_are_those_of_mmdetection(name, tmp_path):
    path = tmp_path / 'image'
    path.write_bytes(VALID[name])
    wanted = LoadImageFromFile()(dict(img_path=str(path)))['img']
    for source in (path, str(path), VALID[name], bytearray(VALID[name])):
        found = read_image(source)
        assert found.dtype == np.uint8
        assert np.array_equal(found, wanted)


# Pillow does not know TIFFs of three channels with more than 8 bits
@pytest.mark.parametrize('name', sorted({*VALID} - {'TIFF 16 bit'}))
def test_headers_are_read_as_pillow_reads_them(name):
    header = read_header(VALID[name])
    with Image.open(io.BytesIO(VALID[name])) as opened:
        assert (header.width, header.height) == opened.size
        assert header.kind == {'MPO': 'JPEG'}.get(opened.format, opened.format)
    assert header.kind == name.split()[0]


def test_all_formats_are_tried():
    assert {name.split()[0] for name in VALID} == set(FORMATS)


@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_orientation_is_applied(orientation):
    stored = read_image(VALID['JPEG EXIF 1'])
    turned = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: stored.transpose(1, 0, 2)[:, ::-1],
        7: stored.transpose(1, 0, 2)[::-1, ::-1],
        8: stored.transpose(1, 0, 2)[::-1],
    }[orientation]
    assert np.array_equal(read_image(VALID[f'JPEG EXIF {orientation}']), turned)


@pytest.mark.parametrize('name', ['JPEG', 'JPEG progressive', 'PNG', 'WEBP', 'BMP', 'TIFF'])
def test_truncated_files_are_refused(name):
    data = VALID[name]
    for size in range(1, len(data) - 1, max(1, len(data) // 40)):
        with pytest.raises(ImageError):
            read_image(data[:size])


def test_truncated_jpeg_says_so_and_padding_is_no_truncation():
    data = VALID['JPEG']
    with pytest.raises(ImageError, match=r'truncated: the end of the JPEG is missing'):
        read_image(data[:-2])
    assert np.array_equal(read_image(data + bytes(100)), read_image(data))


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('PNG 65535x65535', '65535x65535 pixels, more than the 50,000,000 that are allowed'),
        ('PNG second header is small', '20000x20000 pixels'),
        ('JPEG 65535x65535', '65535x65535 pixels'),
        ('JPEG 5000 scans', '5,010 scans, more than the 100 that are read'),
        ('BMP 65535x65535', '65535x65535 pixels'),
        ('BMP height -2147483648', '1x2147483648 pixels'),
        ('WEBP 16777216x16777216', '16777216x16777216 pixels'),
        ('WEBP 16383x16383', '16383x16383 pixels'),
        ('TIFF 65535x65535', '65535x65535 pixels'),
        ('TIFF tags twice', 'tag 256 of the TIFF is there twice'),
        ('TIFF large tile', 'tiles of 67,108,864 pixels'),
    ],
)
def test_bombs_are_refused_before_they_are_decoded(name, message, monkeypatch):
    monkeypatch.setattr(images.cv2, 'imdecode', lambda *_: pytest.fail('it was decoded'))
    with pytest.raises(ImageError, match=re.escape(message)):
        read_image(bombs()[name])


@pytest.mark.parametrize('name', [name for name in strangers() if name != 'empty'])
def test_what_is_no_image_is_refused_before_it_is_decoded(name, monkeypatch):
    monkeypatch.setattr(images.cv2, 'imdecode', lambda *_: pytest.fail('it was decoded'))
    with pytest.raises(ImageError, match=r'no image of a known format|truncated|damaged header'):
        read_image(strangers()[name])


def test_an_animated_png_is_read_as_its_still_image():
    """OpenCV 4.12 ends the process on such files when they are damaged."""
    data = VALID['PNG animated']
    assert b'acTL' in data and b'fdAT' in data
    still = still_png(data)
    assert not any(name in still for name in (b'acTL', b'fcTL', b'fdAT'))
    with Image.open(io.BytesIO(data)) as opened:
        assert np.array_equal(read_image(data)[..., ::-1], np.asarray(opened.convert('RGB')))
    header = bytearray(data[12:29])
    header[11] = 9  # another height, with a right checksum
    lower = data[:12] + bytes(header) + zlib.crc32(header).to_bytes(4, 'big') + data[33:]
    assert read_image(lower).shape == (9, 40, 3)
    read_or_refuse(data[:60] + bytes([data[60] ^ 1]) + data[61:])


def test_a_chunk_that_is_longer_than_the_file_is_refused():
    data = VALID['PNG']
    with pytest.raises(ImageError, match='the end of the PNG is missing'):
        read_image(data[:33] + b'\x7f' + data[34:])


def test_limits_are_exact(picture):
    data = encode(picture, 'PNG')
    assert read_image(data, max_pixels=600, max_bytes=len(data)).shape == (20, 30, 3)
    with pytest.raises(ImageError, match=r'30x20 pixels, more than the 599 that are allowed'):
        read_image(data, max_pixels=599)
    with pytest.raises(ImageError, match=r'\d+ bytes, more than the \d+ that are allowed'):
        read_image(data, max_bytes=len(data) - 1)


def test_pillows_own_limit_does_not_count(monkeypatch, picture):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1)
    assert read_image(encode(picture, 'PNG')).shape == (20, 30, 3)


def test_scans_are_counted_and_previews_are_not():
    assert read_header(VALID['JPEG']).scans == 1
    assert read_header(VALID['JPEG progressive']).scans > 5
    preview = VALID['JPEG progressive'] * 20
    size = (2 + len(preview[:60_000])).to_bytes(2, 'big')
    data = b'\xff\xd8\xff\xe3' + size + preview[:60_000] + VALID['JPEG'][2:]
    assert read_header(data).scans == 1
    assert np.array_equal(read_image(data), read_image(VALID['JPEG']))


def test_a_decoder_that_reads_another_size_is_caught(monkeypatch):
    monkeypatch.setattr(images.cv2, 'imdecode', lambda *_: np.zeros((31, 40, 3), np.uint8))
    with pytest.raises(ImageError, match='has 40x31 pixels, but says 40x30'):
        read_image(VALID['PNG'])


def test_the_same_tag_twice_with_the_same_value_is_fine():
    pixels = bytes(range(16))
    values = {256: 4, 257: 4, 258: 8, 259: 1, 262: 1, 273: 0, 277: 1, 278: 4, 279: 16}
    entries = [(tag, 4, 1, value) for tag, value in values.items()]
    once = read_image(tiff(entries, pixels))
    assert once[..., 0].tolist() == np.arange(16).reshape(4, 4).tolist()
    assert np.array_equal(read_image(tiff([entries[0], *entries], pixels)), once)


def test_paths_that_are_no_files(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r'missing\.jpg'):
        read_image(tmp_path / 'missing.jpg')
    with pytest.raises(ImageError, match='is a folder'):
        read_image(tmp_path)
    pipe = tmp_path / 'pipe.jpg'
    os.mkfifo(pipe)
    for path in (pipe, '/dev/zero', '/dev/stdin' if os.path.isfile('/dev/null') else '/dev/null'):
        with pytest.raises(ImageError, match='no regular file'):
            read_image(path)
    with pytest.raises(ImageError, match='no path of a file'):
        read_image('a\0b.jpg')
    empty = tmp_path / 'empty.jpg'
    empty.write_bytes(b'')
    with pytest.raises(ImageError, match=r'empty\.jpg is empty'):
        read_image(empty)
    link = tmp_path / 'link.png'
    (tmp_path / 'real').write_bytes(VALID['PNG'])
    link.symlink_to(tmp_path / 'real')
    assert read_image(link).shape == (30, 40, 3)


def test_messages_name_the_file(tmp_path):
    path = tmp_path / 'page.jpg'
    path.write_bytes(strangers()['HTML'])
    with pytest.raises(
        ImageError, match=rf'{path} is no image of a known format \(BMP, JPEG, PNG,'
    ):
        read_image(path)


@pytest.mark.parametrize(
    'array',
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_other_arrays_are_named(array):
    with pytest.raises(ImageError, match=re.escape(f'{array.dtype} {array.shape}')):
        images.check_array(array)


def test_threads_read_at_once():
    """Nothing global is touched, such as filters of warnings."""
    names = sorted(VALID) * 3
    wanted = {name: read_image(VALID[name]) for name in VALID}
    wrong = []

    def read(part):
        wrong.extend(n for n in part if not np.array_equal(read_image(VALID[n]), wanted[n]))

    threads = [threading.Thread(target=read, args=(names[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def read_or_refuse(data):
    try:
        image = read_image(data, max_pixels=1_000_000)
    except ImageError:
        return
    assert image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8
    assert 0 < image.shape[0] * image.shape[1] <= 1_000_000


@fuzz
@given(st.integers(0, 100_000))
@example(0)
def test_damaged_images_are_read_or_refused(number):
    string = make_string(1, number)
    read_or_refuse(string.data)
    assert string.data == make_string(1, number).data


@fuzz
@given(
    st.sampled_from(
        [b'', b'BM', b'\xff\xd8\xff', b'\x89PNG\r\n\x1a\n', b'II*\0', b'MM\0+', b'RIFF']
    ),
    st.binary(max_size=200),
)
def test_any_bytes_are_read_or_refused(magic, rest):
    read_or_refuse(magic + rest)


@fuzz
@given(st.sampled_from(sorted(VALID)), st.integers(0, 80), st.binary(min_size=1, max_size=4))
def test_headers_with_any_bytes_are_read_or_refused(name, at, new):
    data = VALID[name]
    read_or_refuse(data[:at] + new + data[at + len(new) :])


def test_opencv_and_the_header_agree_on_what_is_decoded():
    """What the check of the size relies on."""
    decoded = 0
    for number in range(200, 1200):
        data = make_string(2, number).data
        try:
            header = read_header(data)
            data = still_png(data) if header.kind == 'PNG' else data
        except ImageError:
            continue
        if header.width * header.height > 1_000_000 or header.unit > 1_000_000:
            continue
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if image is not None:
            decoded += 1
            assert sorted(image.shape[:2]) == sorted((header.width, header.height)), number
    assert decoded > 100
