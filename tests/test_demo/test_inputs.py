# SPDX-License-Identifier: Apache-2.0
"""What names on the command line mean, and what output files are called."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

import pytest

from mmdet_mobilenext.demo.errors import DemoError
from mmdet_mobilenext.demo.inputs import OutputNames, find_inputs


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ('b.jpg', 'a.PNG', 'sub/a.jpg', 'sub/clip.avi', 'notes.txt', 'x [1].jpg', 'ü.bmp'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names_of(found):
    return [name.as_posix() for _, name in found]


def test_a_folder_gives_all_below_it(folder):
    found = find_inputs(['.'])
    assert names_of(found.images) == ['a.PNG', 'b.jpg', 'sub/a.jpg', 'x [1].jpg', 'ü.bmp']
    assert names_of(found.videos) == ['sub/clip.mp4']
    assert found.others == 1


def test_patterns_and_names_that_look_like_patterns(folder):
    assert names_of(find_inputs(['*.jpg']).images) == ['b.jpg', 'x [1].jpg']
    assert names_of(find_inputs(['**/*.jpg']).images) == ['b.jpg', 'a.jpg', 'x [1].jpg']
    assert names_of(find_inputs(['x [1].jpg']).images) == ['x [1].jpg']


def test_what_patterns_match_besides_is_counted(folder):
    found = find_inputs(['*'])
    assert len(found.images) == 4 and found.others == 2, 'a folder and a text'


def test_a_file_that_is_named_twice_is_taken_once(folder):
    found = find_inputs(['b.jpg', str(folder / 'b.jpg'), '*.jpg', '.'])
    assert [path.name for path, _ in found.images].count('b.jpg') == 1


def test_all_names_of_nothing_are_told_at_once(folder):
    (folder / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match=r'none\.jpg, \*\.gif, empty \(a folder without'):
        find_inputs(['b.jpg', 'none.jpg', '*.gif', 'empty'])


def test_files_of_other_kinds_are_refused(folder):
    with pytest.raises(DemoError, match=r'notes\.txt is neither an image'):
        find_inputs(['notes.txt'])


def test_streams_get_names_of_files(folder):
    found = find_inputs(['1', 'rtsp://u:p@10.0.0.2:554/a/../b?token=1', 'http://../..'])
    assert names_of(found.videos) == ['video1.mp4', '10.0.0.2_554_a_.._b.mp4', 'stream.mp4']


def test_names_do_not_collide(tmp_path):
    names = OutputNames(tmp_path, [tmp_path / 'taken.jpg'])
    wanted = ['a.jpg', 'a.jpg', 'A.JPG', 'a_2.jpg', 'sub/a.jpg', 'taken.jpg', 'a.png']
    assert [names.take(PurePath(name)).relative_to(tmp_path).as_posix() for name in wanted] == [
        *('a.jpg', 'a_2.jpg', 'A_3.JPG', 'a_2_2.jpg', 'sub/a.jpg', 'taken_2.jpg', 'a.png')
    ]


def test_nothing_is_named_outside_of_the_folder(tmp_path):
    (tmp_path / 'out').mkdir()
    os.symlink(tmp_path, tmp_path / 'out/link')
    names = OutputNames(tmp_path / 'out', [])
    for name in ('../a.jpg', 'sub/../../a.jpg', str(tmp_path / 'a.jpg'), 'link/a.jpg'):
        with pytest.raises(DemoError, match='would be outside'):
            names.take(PurePath(name))
    assert names.take(PurePath('a.jpg')) == Path(tmp_path / 'out/a.jpg')


@pytest.mark.parametrize('pattern', ['', '**/*.jpg'])
def test_outputs_of_the_last_run_are_no_inputs(tmp_path, pattern):
    out = tmp_path / 'work' / 'out'
    out.mkdir(parents=True)
    for path in (tmp_path / 'a.jpg', out / 'a.jpg'):
        path.touch()
    found = find_inputs([str(tmp_path / pattern)], out)
    assert [path for path, _ in found.images] == [tmp_path / 'a.jpg']
    assert found.others == 1
    # asked for by its own name
    assert [path for path, _ in find_inputs([str(out)], out).images] == [out / 'a.jpg']
