# SPDX-License-Identifier: Apache-2.0
"""Parts of a comparison on their own: curves, progress, executors, cost."""

from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from mmdet_mobilenext.benchmark import executors
from mmdet_mobilenext.benchmark.cost import peak_memory_mb
from mmdet_mobilenext.benchmark.curves import read_curves, training_minutes
from mmdet_mobilenext.benchmark.errors import BenchmarkError, RunFailedError
from mmdet_mobilenext.benchmark.folder import RunFolder
from mmdet_mobilenext.benchmark.progress import Board


def write_log(folder: Path, name: str, lines: list) -> None:
    path = folder / name / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text('\n'.join(x if isinstance(x, str) else json.dumps(x) for x in lines) + '\n')


class TestCurves:
    def test_epochs_become_iterations(self, tmp_path):
        lines = [dict(loss=9 - i, iter=10 * i, epoch=1 + i // 3, time=0.5) for i in range(1, 5)]
        lines.append({'pascal_voc/mAP': 0.25, 'step': 1})
        lines.append({'pascal_voc/mAP': 0.5, 'step': 2})
        write_log(tmp_path, '1', lines)
        curves = read_curves(tmp_path)
        assert curves['loss'] == [[10, 8], [20, 7], [30, 6], [40, 5]]
        assert curves['val_map'] == [[20, 0.25], [40, 0.5]]
        assert training_minutes(tmp_path) == pytest.approx(0.5 * 40 / 60)

    def test_what_a_kill_made_twice_is_there_once(self, tmp_path):
        write_log(tmp_path, '1', [*(dict(loss=i, iter=i) for i in (1, 2, 3)), '{"loss": 4, "it'])
        write_log(tmp_path, '2', [dict(loss=10 * i, iter=i) for i in (2, 4)])
        assert read_curves(tmp_path)['loss'] == [[1, 1], [2, 20], [4, 40]]

    def test_thinned(self, tmp_path):
        write_log(tmp_path, '1', [dict(loss=1, iter=i) for i in range(1000)])
        loss = read_curves(tmp_path, points=100)['loss']
        assert 100 <= len(loss) <= 200 and loss[-1][0] == 999


@pytest.fixture
def folders(tmp_path):
    made = []
    for seed in range(3):
        path = tmp_path / 'm' / f'seed{seed}'
        path.mkdir(parents=True)
        made.append(RunFolder(path, 'm', seed))
    return made


class TestBoard:
    def test_says_which_run_of_how_many_and_when(self, folders):
        board = Board(folders, Console(file=io.StringIO()))
        assert board.text() == '0 of 3 runs done'
        folders[0].done.write_text('{}')
        folders[1].progress.write_text('{"phase": "train", "done": 5, "total": 10}')
        board._start -= 100
        text = board.text()
        # 1 + 0.95 / 2 runs took 100 s, 1.525 are left
        assert text.startswith('1 of 3 runs done, about 0:01:4')
        assert board._lines() == ['run 2 m seed 1: train 5/10']

    def test_lines_without_a_terminal(self, folders):
        out = io.StringIO()
        with Board(folders, Console(file=out), seconds=0) as board:
            board.tick()
        assert out.getvalue() == '0 of 3 runs done\n'

    def test_broken_progress_file_is_no_error(self, folders):
        folders[0].progress.write_text('{"pha')
        assert Board(folders, Console(file=io.StringIO())).text() == '0 of 3 runs done'


class TestExecutors:
    @pytest.fixture(autouse=True)
    def _other_command(self, monkeypatch, folders):
        """Runs that only note when they begin and end; the second fails."""
        code = (
            'import sys, time, pathlib\n'
            'folder = pathlib.Path(sys.argv[1])\n'
            'print("began", time.monotonic(), flush=True)\n'
            'time.sleep(0.5)\n'
            'if folder.name == "seed1": sys.exit("it went wrong")\n'
            '(folder / "done.json").write_text("{}")\n'
            'print("ended", time.monotonic(), flush=True)\n'
        )

        def command(folder, launcher='none', processes=1):
            return [sys.executable, '-c', code, str(folder.path)]

        monkeypatch.setattr(executors, 'command_of', command)

    def test_a_failed_run_does_not_stop_the_others(self, folders):
        out = io.StringIO()
        with pytest.raises(
            RunFailedError, match=r'1 of 3 runs failed(.|\n)*it went wrong'
        ) as error:
            executors.run_here(folders, Board(folders, Console(file=out)))
        assert [folder.done.exists() for folder in folders] == [True, False, True]
        assert str(folders[1].log) in str(error.value)
        assert '[3/3] m seed 2' in out.getvalue()

    @pytest.mark.parametrize('jobs', [1, 2])
    def test_jobs_at_the_same_time(self, folders, jobs):
        pair = [folders[0], folders[2]]
        executors.run_here(pair, Board(pair, Console(file=io.StringIO())), jobs=jobs)
        begin, end = [], []
        for folder in pair:
            words = folder.log.read_text().split()
            begin.append(float(words[1]))
            end.append(float(words[3]))
        assert (begin[1] < end[0]) == (jobs == 2)

    def test_children_end_with_an_interrupt(self, folders, monkeypatch):
        board = Board(folders, Console(file=io.StringIO()))

        def interrupt():
            raise KeyboardInterrupt

        monkeypatch.setattr(board, 'tick', interrupt)
        with pytest.raises(KeyboardInterrupt):
            executors.run_here(folders, board)
        time.sleep(0.8)
        assert not folders[0].done.exists()

    def test_cluster(self, folders, tmp_path):
        board = Board(folders, Console(file=io.StringIO()))
        with pytest.raises(RunFailedError, match=r'1 of 3 runs failed(.|\n)*it went wrong'):
            executors.run_on_cluster(
                folders, board, tmp_path / 'cluster', 'local', dict(timeout_min=5)
            )
        assert [folder.done.exists() for folder in folders] == [True, False, True]

    def test_cluster_options_that_it_does_not_know(self, folders, tmp_path):
        board = Board(folders, Console(file=io.StringIO()))
        with pytest.raises(BenchmarkError, match=r'cluster options.*no_such_option'):
            executors.run_on_cluster(folders, board, tmp_path, 'local', dict(no_such_option=1))


def test_command_of_several_processes(folders):
    command = executors.command_of(folders[0], 'pytorch', 4)
    assert command[1:3] == ['-m', 'mmdet_mobilenext.benchmark.one_run']
    assert command[-4:] == ['--launcher', 'pytorch', '--processes', '4']


@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
def test_peak_memory_is_of_this_process():
    before = peak_memory_mb()
    block = bytearray(200_000_000)
    block[::4096] = b'x' * len(block[::4096])
    assert peak_memory_mb() >= max(before, 200)
