# SPDX-License-Identifier: Apache-2.0
"""The cache of decoded images: right pixels, its bound, many processes, killed ones, folders."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from mmdet.registry import TRANSFORMS
from mmengine.logging import MMLogger
from torch.utils.data import DataLoader, Dataset

from mmdet_mobilenext.datasets.caching import (
    CachedImageStore,
    LoadCachedImage,
    build_image_cache,
    entries,
    image_cache,
    settings,
)

FORK = multiprocessing.get_context('fork')
BACKENDS = ('shared_memory', 'disk')


def write_images(folder: Path, count: int, shape=(40, 60, 3)) -> list[str]:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    paths = []
    for i in range(count):
        paths.append(str(folder / f'{i}.png'))
        cv2.imwrite(paths[-1], rng.integers(0, 256, shape, dtype=np.uint8))
    return paths


class Decoder:
    """Decodes, and counts how often."""

    def __init__(self):
        self.calls = 0

    def __call__(self, path, reduction=1):
        self.calls += 1
        flag = {1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2}[reduction]
        return cv2.imread(path, flag)

    def get(self, store, path, reduction=1):
        return store.get(path, reduction, lambda: self(path, reduction))


@pytest.fixture
def images(tmp_path):
    return write_images(tmp_path / 'images', 4)


@pytest.fixture
def place(tmp_path):
    """A folder that stands for /dev/shm, or holds the cache on disk."""
    (tmp_path / 'memory').mkdir()
    return {'shared_memory': tmp_path / 'memory', 'disk': tmp_path / 'cache'}


@pytest.fixture(autouse=True)
def _no_reserve(monkeypatch):
    """A test must not depend on how much of this machine's memory is free."""
    monkeypatch.setattr(image_cache, 'SHARED_MEMORY_RESERVE', 0)


@pytest.fixture
def log(caplog):
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    caplog.set_level(logging.INFO)
    yield caplog
    logger.removeHandler(caplog.handler)


def make(backend, place, max_bytes='1MB', **more):
    return CachedImageStore(backend, max_bytes, directory=place[backend], **more)


def files_of(store) -> list[Path]:
    return sorted(Path(store.directory, 'images').iterdir())


def space_of(store) -> int:
    return sum(entries.occupied(file.stat().st_size) for file in files_of(store))


def in_process(target, *args) -> int:
    """Run in a forked process, as a data loader worker does; gives the exit code."""
    process = FORK.Process(target=target, args=args)
    process.start()
    process.join()
    return process.exitcode


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('reduction', [1, 2])
def test_same_pixels_and_one_decoding(backend, reduction, images, place):
    store, decoder = make(backend, place), Decoder()
    for _ in range(3):
        for path in images:
            image = decoder.get(store, path, reduction)
            np.testing.assert_array_equal(image, Decoder()(path, reduction))
            assert image.dtype == np.uint8 and not image.flags.writeable
    assert decoder.calls == 4
    assert store.statistics() == dict(
        num_images=4, num_bytes=space_of(store), hits=8, misses=4, stored=4, refused=0
    )


def test_another_store_of_the_same_settings_has_the_same_images(images, place):
    one, decoder = make('shared_memory', place), Decoder()
    first = decoder.get(one, images[0])
    other = make('shared_memory', place)
    np.testing.assert_array_equal(decoder.get(other, images[0]), first)
    assert decoder.calls == 1 and other.directory == one.directory


def test_grey_image(images, place):
    store = make('disk', place)
    for _ in range(2):
        image = store.get(images[0], 1, lambda: cv2.imread(images[0], cv2.IMREAD_GRAYSCALE))
        assert image.shape == (40, 60)


@pytest.mark.parametrize('change', ['size', 'time'])
def test_changed_file_is_decoded_anew_and_replaces_its_entry(change, images, place):
    store, decoder = make('disk', place), Decoder()
    decoder.get(store, images[0])
    before = os.stat(images[0])
    if change == 'size':
        cv2.imwrite(images[0], np.full((40, 60, 3), 9, np.uint8))
        os.utime(images[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    else:
        os.utime(images[0], ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    np.testing.assert_array_equal(decoder.get(store, images[0]), cv2.imread(images[0]))
    decoder.get(store, images[0])
    assert decoder.calls == 2
    assert len(files_of(store)) == 1 == store.statistics()['num_images']
    assert store.statistics()['num_bytes'] == space_of(store)


def test_an_entry_of_a_file_that_changes_while_it_is_decoded_is_not_used(images, place):
    store, decoder = make('disk', place), Decoder()

    def decode_and_change():
        image = decoder(images[0])
        cv2.imwrite(images[0], np.full((30, 30, 3), 9, np.uint8))
        return image

    store.get(images[0], 1, decode_and_change)
    assert decoder.get(store, images[0]).shape == (30, 30, 3)


@pytest.mark.parametrize(
    'other',
    [
        dict(settings=dict(color_type='grayscale', imdecode_backend='cv2')),
        dict(settings=dict(color_type='color', imdecode_backend='pillow')),
        dict(max_side=50),
    ],
    ids=['colour', 'backend', 'max_side'],
)
def test_other_settings_are_other_entries(other, images, place):
    decoder = Decoder()
    decoder.get(make('disk', place), images[0])
    decoder.get(make('disk', place, **other), images[0])
    assert decoder.calls == 2


def test_other_reduction_path_and_decoder_version_are_other_entries(images, place, monkeypatch):
    store, decoder = make('disk', place), Decoder()
    copy = str(Path(images[0]).with_name('copy.png'))
    shutil.copy2(images[0], copy)  # the same size and time
    for path, reduction in ((images[0], 1), (images[0], 2), (copy, 1)):
        decoder.get(store, path, reduction)
    assert decoder.calls == 3
    monkeypatch.setattr(settings.cv2, '__version__', '99.0')
    settings._decoder_versions.cache_clear()
    decoder.get(make('disk', place), images[0])
    settings._decoder_versions.cache_clear()
    assert decoder.calls == 4


def test_max_side_scales_down_by_area_and_never_up(images, place):
    small, large = make('disk', place, max_side=30), make('disk', place, max_side=500)
    expected = cv2.resize(cv2.imread(images[0]), (30, 20), interpolation=cv2.INTER_AREA)
    for _ in range(2):
        np.testing.assert_array_equal(Decoder().get(small, images[0]), expected)
        assert Decoder().get(large, images[0]).shape == (40, 60, 3)


def test_an_image_cannot_damage_the_cache(images, place):
    store, decoder = make('disk', place), Decoder()
    for _ in range(2):  # from the decoder, then from the cache
        image = decoder.get(store, images[0])
        with pytest.raises(ValueError, match='read-only'):
            image[:] = 0
        with pytest.raises(ValueError, match='WRITEABLE'):
            decoder.get(store, images[0]).flags.writeable = True
    np.testing.assert_array_equal(image, cv2.imread(images[0]))


def test_pixels_stay_when_the_cache_goes(images, place):
    store, decoder = make('shared_memory', place), Decoder()
    decoder.get(store, images[0])
    image = decoder.get(store, images[0])
    store.close()
    assert not os.path.exists(store.directory)
    np.testing.assert_array_equal(image, cv2.imread(images[0]))


@pytest.mark.parametrize('backend', BACKENDS)
def test_full_cache_decodes_the_rest_each_time_and_says_so_once(backend, images, place, log):
    store, decoder = make(backend, place, max_bytes=2 * 8192 + 4095), Decoder()
    for _ in range(3):
        for path in images:
            np.testing.assert_array_equal(decoder.get(store, path), cv2.imread(path))
    assert decoder.calls == 4 + 2 * 2
    assert store.statistics() == dict(
        num_images=2, num_bytes=2 * 8192, hits=4, misses=8, stored=2, refused=6
    )
    told = [line for line in log.text.splitlines() if 'is full at' in line]
    assert len(told) == 1 and '2 images are cached' in told[0] and store.directory in told[0]


def _get_all(store, paths, seed):
    decoder = Decoder()
    for i in np.random.default_rng(seed).permutation(len(paths)):
        image = decoder.get(store, paths[i])
        assert np.array_equal(image, cv2.imread(paths[i]))
        with store._ledger.locked():  # nobody renames a file now
            assert space_of(store) == store.statistics()['num_bytes'] <= store.max_bytes


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('room', [17, 40])
def test_several_writers_at_once_keep_to_the_bound(backend, room, tmp_path, place):
    paths = write_images(tmp_path / 'images', 30)
    store = make(backend, place, max_bytes=room * 8192)
    writers = [FORK.Process(target=_get_all, args=(store, paths, seed)) for seed in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    stored = min(room, 30)
    assert len(files_of(store)) == stored == store.statistics()['num_images']
    assert space_of(store) == stored * 8192 == store.statistics()['num_bytes']


def _die_while_writing(store, path):
    entries.os = SimpleNamespace(**vars(os))
    entries.os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    Decoder().get(store, path)


@pytest.mark.parametrize('backend', BACKENDS)
def test_killed_writer_is_harmless(backend, images, place):
    store, decoder = make(backend, place, max_bytes=4 * 8192), Decoder()
    assert in_process(_die_while_writing, store, images[0]) == -signal.SIGKILL
    assert [file.name for file in files_of(store)] == ['entry.tmp']
    for _ in range(2):
        for path in images:
            np.testing.assert_array_equal(decoder.get(store, path), cv2.imread(path))
            assert space_of(store) <= store.max_bytes
    # What the killed one had claimed is given back when the cache is opened again.
    again = make(backend, place, max_bytes=4 * 8192)
    decoder.get(again, images[3])
    assert len(files_of(again)) == 4 and again.statistics()['num_bytes'] == 4 * 8192


def test_leftover_of_a_killed_writer_is_removed_when_the_cache_is_opened(images, place):
    store = make('disk', place)
    leftover = Path(store.directory, 'images', 'entry.tmp')
    leftover.write_bytes(b'half an image')
    make('disk', place)
    assert not leftover.exists()


@pytest.mark.parametrize('damage', ['empty', 'short', 'zeros', 'header'])
def test_damaged_entry_on_disk_is_replaced(damage, images, place):
    decoder = Decoder()
    decoder.get(make('disk', place), images[0])
    (file,) = files_of(make('disk', place))
    good = file.read_bytes()
    bad = {
        'empty': b'',
        'short': good[:-1],
        'zeros': good[:-4096] + bytes(4096),
        'header': bytes(64) + good[64:],
    }[damage]
    file.write_bytes(bad)
    store = make('disk', place)  # the next run
    np.testing.assert_array_equal(decoder.get(store, images[0]), cv2.imread(images[0]))
    assert decoder.calls == 2 and file.read_bytes() == good
    assert store.statistics()['num_images'] == 1


def test_entry_of_another_length_is_not_read(images, place):
    """Shared memory is not verified; a short file would end in a bus error or a wrong shape."""
    store, decoder = make('shared_memory', place), Decoder()
    decoder.get(store, images[0])
    (file,) = files_of(store)
    file.write_bytes(file.read_bytes()[:-1])
    np.testing.assert_array_equal(decoder.get(store, images[0]), cv2.imread(images[0]))
    assert decoder.calls == 2


@pytest.mark.parametrize('cause', ['full', 'removed'])
def test_training_goes_on_when_the_cache_cannot_be_written(cause, images, place, monkeypatch, log):
    store, decoder = make('disk', place), Decoder()
    decoder.get(store, images[0])
    if cause == 'removed':
        shutil.rmtree(store.directory)
    else:

        def no_space(*_):
            raise OSError(28, 'No space left on device')

        monkeypatch.setattr(entries.os, 'replace', no_space)
    for path in images[1:] * 2:
        np.testing.assert_array_equal(decoder.get(store, path), cv2.imread(path))
    assert log.text.count('cannot store') == 1
    assert decoder.calls == 1 + 6
    if cause == 'full':
        assert len(files_of(store)) == 1 == store.statistics()['num_images']
        assert store.statistics()['num_bytes'] == 8192


def test_disk_cache_stays_for_the_next_run_and_shrinks_to_a_lower_bound(images, place, log):
    decoder = Decoder()
    store = make('disk', place)
    for i, path in enumerate(images):
        decoder.get(store, path)
        newest = max(files_of(store), key=lambda file: file.stat().st_ctime_ns)
        os.utime(newest, (i, i))
    store.close()
    later = make('disk', place)
    for path in images:
        decoder.get(later, path)
    assert decoder.calls == 4
    smaller = make('disk', place, max_bytes=3 * 8192)
    assert 'after removing 1 of a larger cache' in log.text
    assert space_of(smaller) == 3 * 8192 == smaller.statistics()['num_bytes']
    for path in images[1:]:  # the oldest is gone
        decoder.get(smaller, path)
    assert decoder.calls == 4


def test_folder_on_disk_that_is_not_a_cache_is_refused_untouched(tmp_path):
    folder = tmp_path / 'mine'
    folder.mkdir()
    (folder / 'thesis.txt').write_text('text')
    with pytest.raises(FileExistsError, match=r"mine is not empty.*'thesis.txt'.*empty folder"):
        CachedImageStore('disk', '1MB', directory=folder)
    assert os.listdir(folder) == ['thesis.txt']


def _hold(directory, max_bytes, ready, end):
    store = CachedImageStore('shared_memory', max_bytes, directory=directory)
    ready.put(store.directory)
    if end == 'killed':
        os.kill(os.getpid(), signal.SIGKILL)
    ready.close()
    signal.pause()


@pytest.mark.parametrize('max_bytes', [10000, 20000], ids=['same', 'other'])
def test_what_a_dead_run_left_in_shared_memory_is_removed(max_bytes, place, images, log):
    memory = place['shared_memory']
    pipe = FORK.SimpleQueue()
    assert in_process(_hold, memory, 10000, pipe, 'killed') == -signal.SIGKILL
    left = Path(pipe.get())
    (left / 'images' / 'old.img').write_bytes(b'left')
    store = CachedImageStore('shared_memory', max_bytes, directory=memory)
    assert f'Removed {left}' in log.text and files_of(store) == []
    assert {p.name for p in memory.iterdir()} == {
        Path(store.directory).name,
        Path(store.directory).name + '.lock',
    }


def test_shared_memory_of_a_living_run_stays_until_its_last_process(place, images):
    memory = place['shared_memory']
    pipe = FORK.SimpleQueue()
    other = FORK.Process(target=_hold, args=(memory, 10000, pipe, 'later'))
    other.start()
    used = Path(pipe.get())
    CachedImageStore('shared_memory', 20000, directory=memory).close()
    CachedImageStore('shared_memory', 10000, directory=memory).close()
    assert [p for p in memory.iterdir() if p.is_dir()] == [used]
    os.kill(other.pid, signal.SIGKILL)
    other.join()
    CachedImageStore('shared_memory', 20000, directory=memory).close()
    assert list(memory.iterdir()) == []


def _leave(store):
    store.close()
    del store


def test_a_worker_that_ends_does_not_take_the_cache_with_it(place, images):
    store, decoder = make('shared_memory', place), Decoder()
    decoder.get(store, images[0])
    assert in_process(_leave, store) == 0
    decoder.get(store, images[0])
    assert decoder.calls == 1


def test_pickled_store_is_the_same_cache(place, images):
    """As the workers of a data loader get it that are not forked."""
    store, decoder = make('shared_memory', place), Decoder()
    decoder.get(store, images[0])
    copy = pickle.loads(pickle.dumps(store))
    decoder.get(copy, images[0])
    assert decoder.calls == 1
    store.close()
    decoder.get(copy, images[0])  # still there: the copy uses it
    assert decoder.calls == 1
    copy.close()
    assert list(place['shared_memory'].iterdir()) == []


@pytest.mark.parametrize('backend', BACKENDS)
def test_more_than_there_is_room_for(backend, place, monkeypatch):
    usage = SimpleNamespace(total=9, used=0, free=3 * 1024**2)
    monkeypatch.setattr(image_cache.shutil, 'disk_usage', lambda _: usage)
    with pytest.raises(ValueError, match=r'3.8 MiB.* has 3.0 MiB free: set max_bytes to 3145728'):
        make(backend, place, max_bytes=4_000_000)
    make(backend, place, max_bytes=3_000_000)
    monkeypatch.setattr(image_cache, 'SHARED_MEMORY_RESERVE', 2 * 1024**2)
    if backend == 'shared_memory':
        with pytest.raises(ValueError, match=r'2.0 MiB of it are for the data loader: .* 1048576'):
            make(backend, place, max_bytes=2_000_000)


def test_room_that_the_cache_itself_has_taken_counts_as_free(images, place, monkeypatch):
    store = make('disk', place, max_bytes=4 * 8192)
    for path in images:
        Decoder().get(store, path)
    monkeypatch.setattr(
        image_cache.shutil, 'disk_usage', lambda _: SimpleNamespace(total=9, used=9, free=0)
    )
    make('disk', place, max_bytes=4 * 8192)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(backend='redis'), r"'redis', but has to be of"),
        (dict(max_bytes='much'), r"max_bytes is 'much'.*'2GiB'"),
        (dict(max_bytes=0), 'max_bytes is 0'),
        (dict(max_bytes=True), 'max_bytes is True'),
        (dict(max_side=0), 'max_side is 0'),
        (dict(directory=None), 'directory of the cache is None'),
        (dict(size='1MB'), r"keys .*'size'.* takes backend"),
        (dict(backend='shared_memory', directory='/absent'), 'there is no /absent'),
    ],
)
def test_bad_settings_are_named(change, message, tmp_path):
    cfg = dict(backend='disk', max_bytes='1MB', directory=tmp_path / 'cache')
    with pytest.raises(ValueError, match=message):
        build_image_cache({**cfg, **change})


def test_max_bytes_is_needed():
    with pytest.raises(ValueError, match=r"keys \['backend'\].*max_bytes"):
        build_image_cache(dict(backend='disk'))
    assert build_image_cache(None) is None


def test_bad_images_are_named(images, place):
    store = make('disk', place)
    with pytest.raises(FileNotFoundError, match=r'absent.png'):
        store.get('absent.png', 1, lambda: None)
    with pytest.raises(ValueError, match=r'received s3://a/b.jpg'):
        store.get('s3://a/b.jpg', 1, lambda: None)
    with pytest.raises(ValueError, match=r'0.png was decoded to float32 of shape \(2, 2, 3\)'):
        store.get(images[0], 1, lambda: np.zeros((2, 2, 3), np.float32))
    with pytest.raises(ValueError, match=r'0.png was decoded to NoneType'):
        store.get(images[0], 1, lambda: None)


def disk(tmp_path, **more):
    return dict(backend='disk', max_bytes='1MB', directory=str(tmp_path / 'cache'), **more)


@pytest.mark.parametrize(
    'arguments', [{}, dict(to_float32=True), dict(color_type='grayscale')], ids=str
)
def test_load_cached_image_is_load_image_from_file(arguments, images, tmp_path):
    plain = LoadImageFromFile(**arguments)
    cached = TRANSFORMS.build(dict(type='LoadCachedImage', cache=disk(tmp_path), **arguments))
    without = TRANSFORMS.build(dict(type='LoadCachedImage', **arguments))
    for _ in range(2):
        for path in images:
            expected = plain(dict(img_path=path))
            for load in (cached, without):
                results = load(dict(img_path=path))
                assert results.keys() == expected.keys()
                assert results['ori_shape'] == results['img_shape'] == expected['img_shape']
                assert results['img'].dtype == expected['img'].dtype
                np.testing.assert_array_equal(results['img'], expected['img'])
                results['img'] += 1  # later transforms may; the cache must not notice
    assert cached.cache.statistics()['hits'] == 4


def test_load_cached_image_with_absent_files(tmp_path):
    cache = disk(tmp_path)
    assert LoadCachedImage(cache=cache, ignore_empty=True)(dict(img_path='absent.png')) is None
    with pytest.raises(FileNotFoundError, match=r'absent.png'):
        LoadCachedImage(cache=cache)(dict(img_path='absent.png'))


def test_load_cached_image_refuses_what_it_cannot_keep_right(tmp_path):
    with pytest.raises(ValueError, match='max_side of LoadCachedImage is 320'):
        LoadCachedImage(cache=disk(tmp_path, max_side=320))
    with pytest.raises(ValueError, match=r"local file system.*'petrel'"):
        LoadCachedImage(cache=disk(tmp_path), backend_args=dict(backend='petrel'))


class Images(Dataset):
    """What a data loader of MMDetection has: transforms with paths, and a note of each decoding."""

    def __init__(self, paths, cache, note):
        self.paths, self.note = paths, note
        self.load = LoadCachedImage(cache=cache)
        self.load._decoder = self

    def transform(self, results):
        with open(self.note, 'a') as file:
            file.write(f'{os.getpid()}\n')
        return LoadImageFromFile()(results)

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        return self.load(dict(img_path=self.paths[index]))['img']


def two_epochs(
    tmp_path, backend, place, start, persistent, workers=2
) -> tuple[list[str], list[str]]:
    """Processes that decoded, after one epoch and after two."""
    paths, note = write_images(tmp_path / 'images', 12), tmp_path / 'note'
    cache = dict(backend=backend, max_bytes='1MB', directory=str(place[backend]))
    loader = DataLoader(
        Images(paths, cache, note),
        batch_size=2,
        num_workers=workers,
        persistent_workers=persistent,
        multiprocessing_context=start,
        shuffle=True,  # so an image comes to another worker
    )
    total = sum(cv2.imread(path).sum() for path in paths)
    notes = []
    for _ in range(2):
        assert sum(batch.sum().item() for batch in loader) == total
        notes.append(note.read_text().split())
    return tuple(notes)


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('persistent', [True, False], ids=['persistent', 'anew'])
def test_second_epoch_of_a_data_loader_decodes_nothing(backend, persistent, tmp_path, place):
    first, second = two_epochs(tmp_path, backend, place, 'fork', persistent)
    assert len(first) == 12 and len(set(first)) == 2 and second == first


@pytest.mark.slow
def test_workers_that_are_not_forked(tmp_path, place):
    first, second = two_epochs(tmp_path, 'shared_memory', place, 'spawn', True, workers=1)
    assert len(first) == 12 and second == first
