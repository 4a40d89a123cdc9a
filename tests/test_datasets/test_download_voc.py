# SPDX-License-Identifier: Apache-2.0
"""VOC from archives: what is fetched, what is unpacked, and what a kill leaves."""

import contextlib
import dataclasses
import errno
import functools
import hashlib
import io
import multiprocessing
import os
import random
import re
import runpy
import shlex
import shutil
import signal
import sys
import tarfile
import threading
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
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
from mmdet_mobilenext.engine.cli import EXPECTED_ERRORS
from mmdet_mobilenext.fetching import resuming

ROOT = Path(__file__).resolve().parents[2]
IDS = {
    (2007, 'trainval'): ['000005', '000007', '000009'],
    (2007, 'test'): ['000001', '000002'],
    (2012, 'trainval'): ['2008_000002', '2008_000003', '2008_000007', '2008_000008'],
}


def add(tar, name, data=b'', **fields):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    tar.addfile(info, io.BytesIO(data))


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
    assert '404' in message


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


def link(name, target, type=tarfile.SYMTYPE):
    return dict(name=name, linkname=target, type=type)


MALICIOUS = {
    'absolute': [dict(name='/tmp/evil', data=b'x')],
    'drive': [dict(name='C:evil', data=b'x')],
    'backslash': [dict(name='..\\evil', data=b'x')],
    'up': [dict(name='a/../../evil', data=b'x')],
    'link out': [link('a/out', '../..')],
    'absolute link': [link('out', '/etc')],
    'file through a link': [link('out', 'in'), dict(name='out/evil', data=b'x')],
    'file before its link': [dict(name='out/evil', data=b'x'), link('out', 'in')],
    'file through a link in another case': [link('OUT', 'in'), dict(name='out/evil', data=b'x')],
    'link through a link': [link('a/b/top', '../..'), link('a/b/evil', 'top/../..')],
    'link behind a link': [link('a/b/top', '../..'), link('evil', 'a/b/top/c')],
    'hard link out': [link('evil', '../../etc/passwd', tarfile.LNKTYPE)],
    'absolute hard link': [link('evil', '/etc/passwd', tarfile.LNKTYPE)],
    'hard link to what is not there': [link('evil', 'a', tarfile.LNKTYPE)],
    'device': [dict(name='evil', type=tarfile.CHRTYPE)],
    'pipe': [dict(name='evil', type=tarfile.FIFOTYPE)],
    'twice': [dict(name='evil', data=b'x'), dict(name='./evil', data=b'y')],
    'file in a file': [dict(name='evil', data=b'x'), dict(name='evil/a', data=b'y')],
    'empty name': [dict(name='.', data=b'x')],
}


@pytest.mark.parametrize('kind', MALICIOUS)
@pytest.mark.parametrize('mode', ['w', 'w:gz'])
def test_malicious_tar_writes_nothing(tmp_path, kind, mode):
    path = tmp_path / 'bad.tar'
    with tarfile.open(path, mode) as tar:
        add(tar, 'in/good', b'good')
        for member in MALICIOUS[kind]:
            add(tar, **member)
    with pytest.raises(ArchiveError) as caught:
        unpack(path, tmp_path / 'out/put')
    assert str(path) in str(caught.value) and 'nothing was unpacked' in str(caught.value)
    assert any(repr(member['name']) in str(caught.value) for member in MALICIOUS[kind])
    assert [p.name for p in tmp_path.iterdir()] == ['bad.tar']


def test_links_inside_are_unpacked(tmp_path):
    with tarfile.open(tmp_path / 'a.tar', 'w') as tar:
        add(tar, 'in/good', b'good', mode=0o4777)
        add(tar, **link('b/soft', '../in/good'))
        add(tar, **link('hard', 'in/good', tarfile.LNKTYPE))
    unpack(tmp_path / 'a.tar', tmp_path / 'a')
    assert (tmp_path / 'a/b/soft').read_bytes() == (tmp_path / 'a/hard').read_bytes() == b'good'
    assert (tmp_path / 'a/in/good').stat().st_mode & 0o7777 == 0o644


def test_the_own_checks_do_without_a_filter(tmp_path, monkeypatch):
    monkeypatch.delattr(tarfile, 'data_filter', raising=False)
    test_links_inside_are_unpacked(tmp_path)


@pytest.mark.parametrize(
    ('name', 'mode'), [('/evil', 0), ('../evil', 0), ('evil', 0o120777), ('a\\..\\evil', 0)]
)
def test_malicious_zip_writes_nothing(tmp_path, name, mode):
    path = tmp_path / 'bad.zip'
    info = zipfile.ZipInfo('good')
    info.external_attr = mode << 16
    info.filename = name
    with zipfile.ZipFile(path, 'w') as file:
        file.writestr('in/good', 'good')
        file.writestr(info, '/etc')
    with pytest.raises(ArchiveError, match='nothing was unpacked') as caught:
        unpack(path, tmp_path / 'out')
    assert str(path) in str(caught.value) and repr(name) in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ['bad.zip']


@pytest.mark.parametrize('kind', ['tar.gz', 'zip'])
def test_bombs(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(sys.modules[unpack.__module__], 'SMALL', 1 << 16)
    path, data = tmp_path / f'bomb.{kind}', bytes(1 << 20)
    if kind == 'zip':
        with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as file:
            file.writestr('zeros', data)
    else:
        with tarfile.open(path, 'w:gz') as tar:
            add(tar, 'zeros', data)
    with pytest.raises(ArchiveError, match=r"'zeros' makes 1,048,576 bytes"):
        unpack(path, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_too_many_members_and_large_headers(tmp_path, monkeypatch):
    module = sys.modules[unpack.__module__]
    monkeypatch.setattr(module, 'MAX_MEMBERS', 2)
    monkeypatch.setattr(module, 'MAX_HEADER', 1000)
    for name, members in {
        'members': ['a', 'b', 'c'],
        'header': ['a' * 2000],
    }.items():
        path = tmp_path / f'{name}.tar'
        with tarfile.open(path, 'w') as tar:
            for member in members:
                add(tar, member)
        why = "'c' is one more than the 2" if name == 'members' else r'header of [\d,]+ bytes'
        with pytest.raises(ArchiveError, match=why):
            unpack(path, tmp_path / 'out')


@pytest.mark.parametrize('what', ['text', 'cut tar', 'cut tar.gz'])
def test_damaged_archive(tmp_path, what):
    path = tmp_path / 'damaged'
    with tarfile.open(path, 'w:gz' if what == 'cut tar.gz' else 'w') as tar:
        add(tar, 'a', os.urandom(4000))
    data = path.read_bytes()
    path.write_bytes(b'no archive' if what == 'text' else data[:2000])
    with pytest.raises(ArchiveError, match=r'neither|is damaged') as caught:
        unpack(path, tmp_path / 'out')
    assert str(path) in str(caught.value)


@pytest.mark.parametrize('kind', ['w', 'w:gz', 'w:bz2', 'w:xz', 'zip'])
def test_flipped_bits_are_an_error_that_is_told_or_none(tmp_path, kind):
    path, rng = tmp_path / 'archive', random.Random(0)
    if kind == 'zip':
        with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as file:
            file.writestr('a', rng.randbytes(100) + bytes(2000))
    else:
        with tarfile.open(path, kind) as tar:
            add(tar, 'a', rng.randbytes(100) + bytes(2000))
    whole, refused = path.read_bytes(), 0
    for i in range(60):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        try:
            unpack(path, tmp_path / f'out{i}')
        except ArchiveError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused


@pytest.mark.parametrize(
    'header',
    [
        {'size': '-1'},
        {'size': '-1000000000'},
        {'mtime': 'nan'},
        {'mtime': '1e400'},
        {'GNU.sparse.major': '1', 'GNU.sparse.minor': '0'},
        {'GNU.sparse.map': '0,1', 'GNU.sparse.size': '1'},
        {'path': 'a' * 300},
    ],
)
def test_extended_header_that_makes_no_sense(tmp_path, header):
    path = tmp_path / 'a.tar'
    with tarfile.open(path, 'w', format=tarfile.PAX_FORMAT) as tar:
        add(tar, 'a', bytes(1000), pax_headers=header)
        add(tar, 'b', b'b')
    with pytest.raises(ArchiveError, match=re.escape(str(path))):
        unpack(path, tmp_path / 'out')


def test_size_that_leads_back(tmp_path):
    """Into the data of a file, where another header is: fewer bytes than none would be counted."""
    with tarfile.open(tmp_path / 'a.tar', 'w', format=tarfile.PAX_FORMAT) as tar:
        add(tar, 'a', tarfile.TarInfo('hidden').tobuf() + bytes(2048))
        add(tar, 'b', pax_headers={'size': str(-(2048 + 512 + 3 * 512))})
    with pytest.raises(ArchiveError, match=re.escape(str(tmp_path))):
        unpack(tmp_path / 'a.tar', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_zip_of_an_unknown_compression(tmp_path):
    with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as file:
        file.writestr('a', 'a')
    data = bytearray((tmp_path / 'a.zip').read_bytes())
    data[8] = data[data.index(b'PK\1\2') + 10] = 9
    (tmp_path / 'a.zip').write_bytes(data)
    with pytest.raises(ArchiveError, match=r'a\.zip cannot be read here: .*compression'):
        unpack(tmp_path / 'a.zip', tmp_path / 'out')


def test_headers_behind_headers(tmp_path):
    name = tarfile.TarInfo('././@LongLink')
    name.type, name.size = tarfile.GNUTYPE_LONGNAME, 2
    header = name.tobuf(tarfile.GNU_FORMAT) + b'a'.ljust(512, b'\0')
    (tmp_path / 'a.tar').write_bytes(3000 * header + tarfile.TarInfo('a').tobuf() + bytes(1024))
    with contextlib.suppress(ArchiveError):  # a tarfile that does not recurse may read it
        unpack(tmp_path / 'a.tar', tmp_path / 'out')


def test_a_full_disk_is_no_damage(tmp_path, monkeypatch):
    with tarfile.open(tmp_path / 'a.tar', 'w') as tar:
        add(tar, 'a', b'a')

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(tarfile.TarFile, 'extractall', full)
    with pytest.raises(OSError, match='No space left') as caught:
        unpack(tmp_path / 'a.tar', tmp_path / 'out')
    assert not isinstance(caught.value, ArchiveError)


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
