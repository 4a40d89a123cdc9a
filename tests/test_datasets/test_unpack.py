# SPDX-License-Identifier: Apache-2.0
"""Archives that are malicious, damaged or huge write nothing and are named."""

import contextlib
import errno
import os
import random
import re
import sys
import tarfile
import zipfile

import pytest
from archive_members import add

from mmdet_mobilenext.datasets.download import ArchiveError, unpack


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
    assert caught.value.filename == str(tmp_path / 'out') and 'a.tar was' in str(caught.value)


def test_damaged_header_in_the_middle_does_not_end_the_archive(tmp_path):
    path = tmp_path / 'bad.tar'
    with tarfile.open(path, 'w') as tar:
        for name in 'xyz':
            add(tar, name, name.encode())
    content = bytearray(path.read_bytes())
    content[1024] ^= 1  # of the header of y; each member takes 1,024 bytes
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match='damaged'):
        unpack(path, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
