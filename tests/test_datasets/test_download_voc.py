# SPDX-License-Identifier: Apache-2.0
"""VOC from archives: what is fetched, what is unpacked, and what a kill leaves."""

import dataclasses
import errno
import functools
import hashlib
import multiprocessing
import os
import runpy
import shlex
import shutil
import signal
import sys
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from archive_members import add
from filelock import FileLock

from mmdet_mobilenext.datasets.download import (
    VOC_ARCHIVES,
    ArchiveError,
    VocDownloadError,
    download_voc,
    merge,
    unpack,
    voc,
)
from mmdet_mobilenext.engine.cli import EXPECTED_ERRORS, stop_on_expected_errors
from mmdet_mobilenext.fetching import resuming

ROOT = Path(__file__).resolve().parents[2]
IDS = {
    (2007, 'trainval'): ['000005', '000007', '000009'],
    (2007, 'test'): ['000001', '000002'],
    (2012, 'trainval'): ['2008_000002', '2008_000003', '2008_000007', '2008_000008'],
}


def make_archive(path, archive, ids, extra=()):
    """A VOC archive with other members than a list needs, like the published ones."""
    with tarfile.open(path, 'w') as tar:
        add(tar, 'VOCdevkit', type=tarfile.DIRTYPE)
        top = f'VOCdevkit/VOC{archive.year}'
        # the lists first: the order in the archive must not be that of the moves
        parts = {archive.split: ids, 'train': ids[:1], 'val': ids[1:]}
        for name in archive.lists:
            add(tar, f'{top}/ImageSets/Main/{name}.txt', '\n'.join(parts[name]).encode() + b'\n')
        add(tar, f'{top}/ImageSets/Main/cat_{archive.split}.txt', b'x -1\n')
        for i in ids:
            add(tar, f'{top}/Annotations/{i}.xml', f'<annotation>{i}</annotation>'.encode())
            add(tar, f'{top}/JPEGImages/{i}.jpg', f'image {i}'.encode())
        add(tar, f'{top}/SegmentationClass/{archive.split}_{ids[0]}.png', b'mask')
        for name, data in extra:
            add(tar, f'{top}/{name}', data)


class Handler(SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Tiny archives on a local server, in place of the published ones."""
    files = tmp_path / 'server'
    files.mkdir()
    server = ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Handler, directory=str(files)))
    server.asked = []
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    table = []
    for archive in VOC_ARCHIVES:
        path = files / archive.name
        ids = IDS[archive.year, archive.split]
        make_archive(path, archive, ids)
        address = f'http://127.0.0.1:{server.server_port}'
        table.append(
            dataclasses.replace(
                archive,
                md5=hashlib.md5(path.read_bytes()).hexdigest(),
                size=path.stat().st_size,
                num_images=len(ids),
                urls=(f'{address}/nowhere/{archive.name}', f'{address}/{archive.name}'),
            )
        )
    monkeypatch.setattr(voc, 'VOC_ARCHIVES', tuple(table))
    monkeypatch.setattr(resuming, 'PAUSE', 0)
    said = []
    yield SimpleNamespace(
        files=files,
        table=table,
        asked=server.asked,
        dest=tmp_path / 'data',
        said=said,
        run=functools.partial(
            download_voc, dest=tmp_path / 'data', progress=False, say=said.append
        ),
    )
    server.shutdown()
    server.server_close()


def contents(folder):
    """Files that a user sees, with their bytes."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob('*')
        if p.is_file() and not p.relative_to(folder).as_posix().startswith('.download_voc.lock')
    }


def expected(*archives):
    files = {}
    for archive in archives:
        with tarfile.open(archive) as tar:
            files |= {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}
    return files


def test_the_table_is_that_of_the_published_archives():
    assert {a.name: (a.md5, a.num_images) for a in VOC_ARCHIVES} == {
        'VOCtrainval_06-Nov-2007.tar': ('c52e279531787c972589f7e41ab4ae64', 5011),
        'VOCtest_06-Nov-2007.tar': ('b6e924de25625d8de591ea690078ad9f', 4952),
        'VOCtrainval_11-May-2012.tar': ('6cd6e144f989b92b3379bac3b3de84fd', 11540),
    }
    assert {host for a in VOC_ARCHIVES for host in [a.urls[0].split('/')[2]]} == {
        'host.robots.ox.ac.uk'
    }
    assert all(url.endswith('/' + a.name) for a in VOC_ARCHIVES for url in a.urls)


def test_two_years_from_nothing_and_again_without_a_request(site):
    devkit = site.run()
    assert devkit == site.dest / 'VOCdevkit'
    assert contents(site.dest) == expected(*site.files.iterdir())
    assert any(f'The data is in {devkit}' in line for line in site.said)
    assert f'VOC_DATA_ROOT={devkit}' in site.said[-1]

    site.asked.clear()
    before = {p: p.stat().st_mtime_ns for p in site.dest.rglob('*')}
    site.run()
    assert site.asked == []
    assert {p: p.stat().st_mtime_ns for p in site.dest.rglob('*')} == before


def test_commands_of_the_check_are_those_of_the_tool(site):
    site.run()
    parse_args = runpy.run_path(str(ROOT / 'tools/check_voc.py'))['parse_args']
    commands = [shlex.split(line) for line in site.said if 'tools/check_voc.py' in line]
    checks = [parse_args(command[2:]) for command in commands]
    assert [(check.data_root, check.split) for check in checks] == [
        (str(site.dest / 'VOCdevkit/VOC2007'), ['trainval', 'test']),
        (str(site.dest / 'VOCdevkit/VOC2012'), ['trainval']),
    ]


def test_a_call_that_waits_for_another_says_so(site):
    site.dest.mkdir()
    lock = FileLock(site.dest / '.download_voc.lock')
    with lock:
        call = threading.Thread(target=site.run)
        call.start()
        while call.is_alive() and not any('waiting' in line for line in site.said):
            call.join(0.01)
        assert call.is_alive() and site.asked == []
        unpack_by_hand(site, *site.table)  # what the other one does
    call.join()
    assert site.asked == [] and 'The data is in' in ''.join(site.said)


def test_wrong_bytes_at_the_first_address(site):
    archive = site.table[2]
    (site.files / 'nowhere').mkdir()
    (site.files / 'nowhere' / archive.name).write_bytes(b'<html>moved</html>')
    site.run([2012])
    assert site.asked == [f'/nowhere/{archive.name}', f'/{archive.name}']
    assert contents(site.dest) == expected(site.files / archive.name)


def test_one_year_and_kept_archives(site):
    site.run([2007], keep_archives=True)
    names = [a.name for a in site.table[:2]]
    assert {n: d for n, d in contents(site.dest).items() if n in names} == {
        n: (site.files / n).read_bytes() for n in names
    }
    assert not (site.dest / 'VOCdevkit/VOC2012').exists()
    # they serve again when the data is lost
    site.asked.clear()
    shutil.rmtree(site.dest / 'VOCdevkit')
    site.run([2007])
    assert site.asked == []
    assert all((site.dest / n).exists() for n in names)


def test_own_archives_are_known_by_their_bytes_and_stay(site, tmp_path):
    mine = tmp_path / 'any name.bin'
    (site.files / site.table[2].name).rename(mine)
    data = mine.read_bytes()
    site.run([2012], archives=[mine])
    assert site.asked == []
    assert contents(site.dest) == expected(mine)
    assert mine.read_bytes() == data
    site.run([2012], archives=[mine])
    assert f'{mine} was not needed' in site.said


def test_unknown_archive_is_refused_by_name(site, tmp_path):
    # the right name does not help
    mine = tmp_path / site.table[0].name
    mine.write_bytes(b'cut off')
    with pytest.raises(VocDownloadError) as caught:
        site.run(archives=[mine])
    message = str(caught.value)
    for part in (str(mine), hashlib.md5(b'cut off').hexdigest(), *(a.md5 for a in site.table)):
        assert part in message
    assert site.asked == [] and not site.dest.exists()


def test_archive_of_a_year_that_is_not_wanted(site):
    with pytest.raises(VocDownloadError, match=r'VOC2012 trainval, but --years has only \[2007\]'):
        site.run([2007], archives=[site.files / site.table[2].name])


def test_archive_that_is_not_there_and_unknown_year(site, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nowhere\.tar'):
        site.run(archives=[tmp_path / 'nowhere.tar'])
    with pytest.raises(VocDownloadError, match='2010'):
        site.run([2010])


def unpack_by_hand(site, *archives):
    for archive in archives:
        unpack(site.files / archive.name, site.dest)


def test_what_was_unpacked_by_hand_is_taken(site):
    unpack_by_hand(site, *site.table)
    site.run()
    assert site.asked == []


def test_only_the_missing_half_of_voc2007_is_fetched(site):
    unpack_by_hand(site, site.table[0])
    own = site.dest / 'VOCdevkit/VOC2007/ImageSets/Main/mine.txt'
    own.write_text('000005\n')
    site.run([2007])
    assert {name.rpartition('/')[2] for name in site.asked} == {site.table[1].name}
    assert own.read_text() == '000005\n'
    own.unlink()
    assert contents(site.dest) == expected(*(site.files / a.name for a in site.table[:2]))


@pytest.mark.parametrize('name', ['JPEGImages/000007.jpg', 'Annotations/000005.xml'])
@pytest.mark.parametrize('damage', [os.remove, lambda path: os.truncate(path, 0)])
def test_a_file_that_is_missing_or_empty_is_put_back(site, name, damage):
    unpack_by_hand(site, *site.table[:2])
    damage(site.dest / 'VOCdevkit/VOC2007' / name)
    site.run([2007])
    assert contents(site.dest) == expected(*(site.files / a.name for a in site.table[:2]))
    assert {path.rpartition('/')[2] for path in site.asked} == {site.table[0].name}


def test_other_files_in_place_are_left_and_named(site):
    unpack_by_hand(site, site.table[0])
    devkit = site.dest / 'VOCdevkit/VOC2007'
    (devkit / 'Annotations/000005.xml').write_text('<annotation>corrected by me</annotation>')
    (devkit / 'JPEGImages/000007.jpg').unlink()
    before = contents(site.dest / 'VOCdevkit')
    with pytest.raises(VocDownloadError, match=r'1 files that differ .*Annotations/000005\.xml'):
        site.run([2007])
    assert contents(site.dest / 'VOCdevkit') == before


def test_other_files_of_no_use_to_detection_stay(site):
    unpack_by_hand(site, site.table[0])
    devkit = site.dest / 'VOCdevkit/VOC2007'
    (devkit / 'JPEGImages/000007.jpg').unlink()
    mask = devkit / 'SegmentationClass/trainval_000005.png'
    mask.write_bytes(b'mine, and longer')
    site.run([2007])
    assert mask.read_bytes() == b'mine, and longer'
    assert any(str(mask) in line for line in site.said)


def test_another_set_in_place_is_not_touched(site):
    unpack_by_hand(site, *site.table)
    path = site.dest / 'VOCdevkit/VOC2007/ImageSets/Main/trainval.txt'
    path.write_text('000005\n')
    with pytest.raises(VocDownloadError, match=r'trainval\.txt names 1 images, .* 3: '):
        site.run()
    assert site.asked == [] and path.read_text() == '000005\n'


def test_a_list_of_other_bytes_is_named(site):
    unpack_by_hand(site, *site.table)
    path = site.dest / 'VOCdevkit/VOC2007/ImageSets/Main/trainval.txt'
    path.write_bytes(b'\xff\xfe')
    with pytest.raises(VocDownloadError, match=r'trainval\.txt names 1 images, .* 3: '):
        site.run()
    assert path.read_bytes() == b'\xff\xfe'


def test_a_linked_folder_stays_one(site, tmp_path, monkeypatch):
    elsewhere = tmp_path / 'disk/voc07'
    elsewhere.mkdir(parents=True)
    (site.dest / 'VOCdevkit').mkdir(parents=True)
    (site.dest / 'VOCdevkit/VOC2007').symlink_to(elsewhere)
    sources, replace = [], os.replace
    monkeypatch.setattr(merge.os, 'replace', lambda s, t: (sources.append(s), replace(s, t)))
    site.run([2007], archives=[site.files / a.name for a in site.table[:2]])
    # it may be on another disk, and a rename stays on one
    assert sources and all(Path(s).is_relative_to(elsewhere.parent) for s in sources)
    assert (site.dest / 'VOCdevkit/VOC2007').is_symlink()
    assert (elsewhere / 'ImageSets/Main/test.txt').exists()
    assert [p.name for p in elsewhere.parent.iterdir()] == ['voc07']


def killed_in_the_moves(site, after, into=True):
    """Run in a process that kills itself before the move number ``after``.

    Args:
        site: Of the fixture.
        after: Moves that are made.
        into: Whether the folder is there before, so that files are moved one by one.
    """
    if into:
        (site.dest / 'VOCdevkit/VOC2007').mkdir(parents=True)

    def run():
        moves = []
        replace = os.replace

        def replace_or_die(source, target):
            moves.append(target)
            if len(moves) > after:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(source, target)

        merge.os = SimpleNamespace(replace=replace_or_die, path=os.path, scandir=os.scandir)
        archives = [site.files / a.name for a in site.table[:2]]
        download_voc([2007], site.dest, archives, say=lambda line: None)

    process = multiprocessing.get_context('fork').Process(target=run)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_a_kill_before_the_only_move_leaves_no_folder(site):
    killed_in_the_moves(site, 0, into=False)
    (work,) = (site.dest / 'VOCdevkit').iterdir()
    assert work.name.startswith('.VOC2007.unfinished-')
    killed_in_the_moves(site, 1, into=False)  # the move of VOC2007 trainval is one
    assert (site.dest / 'VOCdevkit/VOC2007/ImageSets/Main/trainval.txt').exists()
    site.run([2007])
    assert contents(site.dest) == expected(*(site.files / a.name for a in site.table[:2]))


@pytest.mark.parametrize('after', [0, 5, 10])
def test_a_kill_leaves_no_list_and_the_next_call_completes(site, after):
    killed_in_the_moves(site, after)
    main = site.dest / 'VOCdevkit/VOC2007/ImageSets/Main'
    assert not (main / 'trainval.txt').exists()
    assert len([p for p in main.parents[1].rglob('*') if p.is_file()]) == after
    assert list((site.dest / 'VOCdevkit').glob('.VOC2007.unfinished-*'))

    site.run([2007])
    assert contents(site.dest) == expected(*(site.files / a.name for a in site.table[:2]))
    assert not (site.dest / '.download_voc').exists()


def test_a_kill_between_the_archives_loses_nothing(site):
    trainval = expected(site.files / site.table[0].name)
    killed_in_the_moves(site, len(trainval))
    assert contents(site.dest / 'VOCdevkit/VOC2007').keys() >= {'ImageSets/Main/trainval.txt'}
    site.run([2007])
    assert {path.rpartition('/')[2] for path in site.asked} == {site.table[1].name}


def test_an_archive_fetched_by_a_killed_call_serves_the_next(site, monkeypatch):
    def fail(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(voc, 'unpack', fail)
        with pytest.raises(KeyboardInterrupt):
            site.run([2012])
    site.asked.clear()
    site.run([2012])
    assert site.asked == []
    assert contents(site.dest) == expected(site.files / site.table[2].name)


def test_the_lists_come_last(site, monkeypatch):
    order = []
    replace = os.replace
    (site.dest / 'VOCdevkit/VOC2012').mkdir(parents=True)
    monkeypatch.setattr(merge.os, 'replace', lambda s, t: (order.append(Path(t)), replace(s, t)))
    site.run([2012], archives=[site.files / site.table[2].name])
    names = [path.name for path in order if path.parent.name == 'Main']
    assert [path.name for path in order[-len(names) :]] == names
    assert names == ['cat_trainval.txt', 'train.txt', 'val.txt', 'trainval.txt']


def test_offline_message_says_what_to_fetch_and_to_run(site):
    for archive in site.table[1:]:
        (site.files / archive.name).unlink()
    mine = site.files / site.table[0].name
    with pytest.raises(VocDownloadError) as caught:
        site.run(archives=[mine])
    message = str(caught.value)
    for archive in site.table[1:]:
        assert all(text in message for text in (archive.name, archive.md5, *archive.urls))
    assert site.table[0].md5 not in message
    test, voc12 = (a.name for a in site.table[1:])
    command = f'python tools/download_voc.py --years 2007 2012 --dest {site.dest} --archive '
    assert command + f'{test} {voc12}' in message
    assert '404' in message and 'kept' not in message  # nothing was fetched


def test_offline_message_tells_of_bytes_that_are_kept(site):
    archive = site.table[2]
    (site.files / archive.name).unlink()
    part = site.dest / voc.FETCHED / f'.{archive.name}.part'
    part.parent.mkdir(parents=True)
    part.write_bytes(b'1234567')
    part.with_name(f'{part.name}.json').write_text('{"url": "https://example.org/a.tar"}')
    with pytest.raises(VocDownloadError, match=r'The 7 bytes fetched so far are kept in .*again'):
        site.run([2012])
    assert part.read_bytes() == b'1234567'


def test_too_little_space(site, monkeypatch):
    size = site.table[2].size
    free = int(size * voc.BLOCKS) + 1
    monkeypatch.setattr(voc.shutil, 'disk_usage', lambda path: SimpleNamespace(free=free))
    with pytest.raises(VocDownloadError, match='disk space for VOC2007 trainval, VOC2007 test, V'):
        site.run()
    assert site.asked == []
    with pytest.raises(VocDownloadError, match='disk space for VOC2012 trainval, '):
        site.run([2012])
    # without a download, or with the rest of one, an archive needs only the room for its files
    fetched = site.dest / voc.FETCHED / f'.{site.table[2].name}.part'
    fetched.parent.mkdir()
    fetched.write_bytes(bytes(size))
    site.run([2012])
    shutil.rmtree(site.dest)
    site.run([2012], archives=[site.files / site.table[2].name])


def test_wrong_file_under_the_name_of_an_archive(site):
    site.dest.mkdir()
    path = site.dest / site.table[2].name
    path.write_bytes(b'half of it')
    with pytest.raises(VocDownloadError, match=r'10 of [\d,]+ bytes\): fetch the rest'):
        site.run([2012])
    assert path.read_bytes() == b'half of it'


@pytest.mark.parametrize('lack', ['val.txt', '2008_000003.xml', 'an id'])
def test_archive_without_what_it_must_have(site, tmp_path, monkeypatch, lack):
    archive, source = site.table[2], tmp_path / 'source'
    unpack(site.files / archive.name, source)
    if lack == 'an id':
        (source / 'VOCdevkit/VOC2012/ImageSets/Main/trainval.txt').write_text('2008_000002\n')
    else:
        next(source.rglob(lack)).unlink()
    with tarfile.open(tmp_path / 'a.tar', 'w') as tar:
        tar.add(source / 'VOCdevkit', 'VOCdevkit')
    md5 = hashlib.md5((tmp_path / 'a.tar').read_bytes()).hexdigest()
    monkeypatch.setattr(voc, 'VOC_ARCHIVES', (dataclasses.replace(archive, md5=md5),))
    with pytest.raises(VocDownloadError, match='names 1 images' if lack == 'an id' else lack):
        site.run([2012], archives=[tmp_path / 'a.tar'])
    assert not list((site.dest / 'VOCdevkit').iterdir())


def run_tool(monkeypatch, *args):
    """In this process: a new one spends seconds on imports."""
    monkeypatch.setattr(sys, 'argv', ['download_voc.py', *map(str, args)])
    runpy.run_path(str(ROOT / 'tools/download_voc.py'), run_name='__main__')


def test_tool(site, monkeypatch, capsys):
    monkeypatch.chdir(site.files)
    names = [a.name for a in site.table]
    args = ('--dest', site.dest, '--archive', *names[:2], '--archive', names[2])
    run_tool(monkeypatch, *args)
    assert site.asked == []
    assert str(site.dest / 'VOCdevkit') in capsys.readouterr().out
    assert contents(site.dest) == expected(*names)


def test_tool_ends_with_the_message(site, monkeypatch, capsys):
    assert issubclass(ArchiveError, EXPECTED_ERRORS)
    mine = site.files / 'a.tar'
    mine.write_bytes(b'x')
    with pytest.raises(SystemExit) as caught:
        run_tool(monkeypatch, '--dest', site.dest, '--years', 2007, '--archive', mine)
    assert caught.value.code == 1
    assert f'VocDownloadError: {mine} has the MD5 ' in capsys.readouterr().err


def test_tool_names_the_place_that_cannot_be_written(site, monkeypatch, capsys):
    site.dest.write_text('a file')
    with pytest.raises(SystemExit) as caught:
        run_tool(monkeypatch, '--dest', site.dest)
    assert caught.value.code == 1
    assert capsys.readouterr().err.startswith('\nNotADirectoryError: [Errno 20] Not a directory: ')
    for name in ('PermissionError', 'OSError'):
        error = {'PermissionError': errno.EACCES, 'OSError': errno.ENOSPC}[name]
        with pytest.raises(SystemExit), stop_on_expected_errors():
            raise OSError(error, os.strerror(error), 'data/VOCdevkit')
        message = capsys.readouterr().err
        assert message.startswith(f'\n{name}: ') and 'data/VOCdevkit' in message
    with pytest.raises(SystemExit), stop_on_expected_errors():
        raise OSError(errno.ENOSPC, 'disk full')  # as libraries that write do, without a name
    with pytest.raises(OSError, match='who knows'), stop_on_expected_errors():
        raise OSError('who knows where')  # this one needs its traceback
