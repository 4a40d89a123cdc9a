# SPDX-License-Identifier: Apache-2.0
"""The set-up script, without a network and without an install."""

import contextlib
import doctest
import io
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / 'tools'
sys.path.insert(0, str(TOOLS))
try:
    import setup_env
    from _setup import environment as environment_module
    from _setup import failures, inside, mmcv_build, progress
    from _setup.environment import LOCK, STAMP, Environment, locked
    from _setup.failures import SetupError, explain_failure
    from _setup.progress import Display, Progress
finally:
    sys.path.remove(str(TOOLS))

OK = {'failed': None, 'error': '', 'cuda_ops': None}
NO_OPS = {'failed': 'ops', 'error': "ModuleNotFoundError: No module named 'mmcv._ext'"}
GROUPS = ('tools', 'torch', 'packages', 'no_deps', 'mmcv', 'project')


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def display():
    return Display(io.StringIO())


@pytest.fixture
def site(tmp_path, monkeypatch):
    """An empty place for distributions, which hides the installed ones."""
    folder = tmp_path / 'site'
    folder.mkdir()

    def distribution(name):
        for found in inside.metadata.distributions(name=name, path=[str(folder)]):
            return found
        raise inside.metadata.PackageNotFoundError(name)

    def version(name):
        return distribution(name).version

    monkeypatch.setattr(inside.metadata, 'distribution', distribution)
    monkeypatch.setattr(inside.metadata, 'version', version)
    monkeypatch.setattr(inside.metadata, 'files', lambda name: distribution(name).files)
    return folder


def put(site, name, version, requires=(), whole=True, files=(), **more):
    """Write the metadata of a distribution."""
    info = site / f'{name.replace("-", "_")}-{version}.dist-info'
    info.mkdir()
    lines = [f'Requires-Dist: {text}' for text in requires]
    header = ['Metadata-Version: 2.1', f'Name: {name}', f'Version: {version}']
    (info / 'METADATA').write_text('\n'.join([*header, *lines]) + '\n')
    record = [*files, *([f'{info.name}/INSTALLER'] if whole else []), f'{info.name}/METADATA']
    (info / 'RECORD').write_text(''.join(f'{file},,\n' for file in record))
    for file, text in more.items():
        (info / f'{file}.json').write_text(text)


def problem_of(text):
    return inside.find_problem(inside.requirement(text))


@pytest.mark.parametrize(
    'module', [setup_env, failures, inside, progress], ids=lambda module: module.__name__
)
def test_examples(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


class TestRequirements:
    def test_parse(self):
        text = '# base\ntorch==2.13.0  # why\n\n  numpy==2.4.6; python_version >= "3.11"\n'
        assert inside.parse_requirements(text) == [
            'torch==2.13.0',
            'numpy==2.4.6; python_version >= "3.11"',
        ]

    def test_the_file_pins_the_stack_once_for_every_python(self):
        lines = inside.parse_requirements((ROOT / 'requirements.txt').read_text())
        needed = [inside.requirement(line) for line in lines]
        for python in ('3.10', '3.11', '3.13'):
            names = [
                one.name
                for one in needed
                if not one.marker or one.marker.evaluate({'python_version': python})
            ]
            assert len(names) == len(set(names))
            assert {'torch', 'onedl-mmcv', 'onedl-mmengine', 'onedl-mmdetection'} <= set(names)
        pinned = {one.name: str(one.specifier) for one in needed}
        assert all(text.startswith('==') for name, text in pinned.items() if name != 'packaging')

    @pytest.mark.parametrize(
        ('asked', 'problem'),
        [
            ('six', None),
            ('six==1.17.0', None),
            ('Six==1.17', None),
            ('six==1.16.0', '1.17.0, not ==1.16.0'),
            ('six<1.9', '1.17.0, not <1.9'),  # not the order of strings
            ('torch==2.13.0', None),  # a local version is that version
            ('torch==2.13.1', '2.13.0+cpu, not ==2.13.1'),
            ('absent==1.0', 'missing'),
            ('cut-short==1.0', 'only half installed'),
        ],
    )
    def test_versions(self, site, asked, problem):
        put(site, 'six', '1.17.0')
        put(site, 'torch', '2.13.0+cpu')
        put(site, 'cut-short', '1.0', whole=False)
        assert problem_of(asked) == problem

    def test_another_cv2_of_the_same_version_will_do(self, site):
        assert problem_of('opencv-python-headless==5.0') == 'missing'
        put(site, 'opencv-python', '5.0')
        assert problem_of('opencv-python-headless==5.0') is None
        assert problem_of('opencv-python-headless==5.1') == 'opencv-python 5.0 is there instead'

    def test_dependencies_are_followed(self, site):
        put(site, 'top', '1', ['middle[fast]>=2', 'never; extra == "all"', 'old; os_name == "?"'])
        put(site, 'middle', '2.1', ['leaf<3', 'wheels==1; extra == "fast"', 'gone>=1'])
        put(site, 'leaf', '3.0', ['top'])  # a circle
        problems, versions = inside.follow_dependencies([inside.requirement('top')])
        assert problems == {
            'leaf<3': '3.0, not <3; middle needs it',
            'wheels==1': 'missing; middle needs it',
            'gone>=1': 'missing; middle needs it',
        }
        assert versions == {'top': '1', 'middle': '2.1', 'leaf': '3.0'}

    def test_what_is_left_out_is_not_missed(self, site):
        put(site, 'onedl-mmcv', '2.3.6', ['opencv-python', 'yapf'])
        problems, _ = inside.follow_dependencies([inside.requirement('onedl-mmcv')])
        assert list(problems) == ['yapf']

    def test_project(self, site, tmp_path, monkeypatch):
        monkeypatch.setattr(inside, 'ROOT', tmp_path)
        (tmp_path / 'mmdet_mobilenext').mkdir()
        (tmp_path / 'mmdet_mobilenext' / 'version.py').write_text("__version__ = '0.2.0'\n")
        assert inside.find_project_problem() == 'missing'
        link = {'url': tmp_path.as_uri(), 'dir_info': {'editable': True}}
        put(site, 'mmdet-mobilenext', '0.2.0', direct_url=json.dumps(link))
        assert inside.find_project_problem() is None
        shutil.rmtree(next(site.glob('mmdet_mobilenext-*')))
        link['url'] = 'file:///elsewhere'
        put(site, 'mmdet-mobilenext', '0.2.0', direct_url=json.dumps(link))
        assert inside.find_project_problem() == 'from file:///elsewhere'

    def test_probe_of_an_empty_environment_names_everything(self, site):
        found = inside.probe(['tests'])
        problems = found['problems']
        assert set(problems) == set(GROUPS)
        assert all(problems.values())
        assert list(problems['torch']) == ['torch==2.13.0']
        assert [text.partition('=')[0] for text in problems['mmcv']] == ['onedl-mmcv']
        no_deps = {text.partition('=')[0] for text in problems['no_deps']}
        assert no_deps == {'onedl-mmdetection', 'imaug'}
        assert any(text.startswith('pytest') for text in problems['packages'])
        assert found['versions'] == {}
        assert found['ops'] is None

    def test_probe_notices_one_package_taken_away(self, site):
        lines = inside.parse_requirements((ROOT / 'requirements.txt').read_text())
        for needed in map(inside.requirement, [*lines, *inside.BUILD_TOOLS]):
            if inside.applies(needed) and needed.name != 'tqdm':
                version = str(needed.specifier).split(',')[-1].lstrip('=<>')
                version = {'setuptools': '80.9', '': '1'}.get(needed.name, version or '1')
                put(site, needed.name, version, ['tqdm'] if needed.name == 'scipy' else [])
        problems = inside.probe([])['problems']
        assert problems.pop('project') == {'mmdet-mobilenext': 'missing'}
        (only,) = (group for group in problems.values() if group)
        assert list(only.values()) == ['missing']  # told once, not once more for scipy
        assert next(iter(only)).startswith('tqdm==')

    def test_unknown_extra(self, site):
        assert "unknown extras ['test']" in inside.probe(['test'])['unknown']

    def test_ops_file(self, site):
        put(site, 'onedl-mmcv', '2.3.6', files=['mmcv/_ext.cpython-311-x86_64-linux-gnu.so'])
        assert inside.find_ops() is None  # listed, but gone
        (site / 'mmcv').mkdir()
        file = site / 'mmcv' / '_ext.cpython-311-x86_64-linux-gnu.so'
        file.write_bytes(b'123')
        assert inside.find_ops() == [str(file), 3, file.stat().st_mtime_ns]


class TestProgress:
    def test_ninja_lines(self):
        clock = Clock()
        shown = Progress(clock)
        assert shown.percent is None
        clock.now = 30
        shown.feed("  building 'mmcv._ext' extension\n")
        clock.now = 90
        shown.feed('  [12/78] c++ -MMD -MF /build/a.o.d -c a.cpp\n')
        # 12 files in the 60 s since the compilation began, so 66 more take 330 s
        assert shown.text() == 'compiling 12/78 (15 %), 1:30 gone, about 5:30 left'
        shown.feed('  a.cpp:3:[1/2] warning: no progress line\n')
        assert (shown.done, shown.total) == (12, 78)

    def test_first_files_give_no_estimate(self):
        shown = Progress(Clock())
        shown.feed('[1/78] c++ a.cpp')
        assert 'left' not in shown.text()

    def test_stages(self):
        shown = Progress(Clock())
        assert shown.text() == 'working, 0:00 gone'
        shown.feed('Collecting torch\n')
        shown.feed('  Downloading torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl (526.6 MB)\n')
        assert shown.text() == 'fetching torch-2.13.0, 0:00 gone'
        shown.feed('Progress 104857600 of 419430400\n')
        assert shown.text() == 'downloading torch-2.13.0: 25 % of 400 MB, 0:00 gone'
        shown.feed('Installing collected packages: torch\n')
        assert shown.text() == 'installing, 0:00 gone'
        shown.feed('  [78/78] c++ z.cpp\n')
        assert shown.text().startswith('compiling 78/78 (100 %)')
        shown.feed('  g++ -shared -o _ext.so\n')
        assert shown.text() == 'linking and packing, 0:00 gone'

    def test_no_terminal_every_tenth_or_half_minute(self):
        stream, clock = io.StringIO(), Clock()
        shown = Display(stream, clock=clock)
        for second in range(61):
            clock.now = second
            shown.live(f'at {second}', percent=second // 3)  # reaches 10 % at 30, 20 % at 60
        clock.now = 100
        shown.live('at 100', percent=20)
        lines = stream.getvalue().split('\n')
        assert [line.strip() for line in lines] == ['at 30', 'at 60', 'at 100', '']

    def test_terminal_has_one_moving_line(self):
        stream = Terminal()
        shown = Display(stream)
        shown.live('x' * 500)
        shown.live('second')
        shown.line('done')
        assert stream.getvalue().count('\n') == 1
        assert max(map(len, stream.getvalue().split('\x1b[K'))) < 500  # cut to the width
        assert stream.getvalue().endswith('\r\x1b[Kdone\n')

    def test_quiet(self):
        stream = Terminal()
        shown = Display(stream, quiet=True)
        shown.line('a')
        shown.live('b', 50)
        assert stream.getvalue() == ''


@pytest.mark.parametrize(
    ('lines', 'words'),
    [
        (
            [
                "WARNING: Retrying after connection broken by 'NewConnectionError(...: Failed to "
                "establish a new connection: [Errno 111] Connection refused')': /simple/addict/",
                'ERROR: Could not find a version that satisfies the requirement addict==2.4.0 '
                '(from versions: none)',
                'ERROR: No matching distribution found for addict==2.4.0',
            ],
            ['addict==2.4.0 could not be fetched', 'network', 'run the same command again'],
        ),
        (
            ['ERROR: No matching distribution found for torch==2.13.0'],
            ['the package index has no torch==2.13.0', 'Python 3.'],
        ),
        (
            [
                '  [3/78] c++ -c knn.cpp',
                '  FAILED: knn.o',
                '  knn.cpp:4:10: fatal error: ATen.h: No such file or directory',
                '  ninja: build stopped: subcommand failed.',
                '  error: subprocess-exited-with-error',
            ],
            ['the compiler failed', 'knn.cpp:4:10: fatal error: ATen.h', 'ninja: build stopped'],
        ),
        (
            ['c++: fatal error: Killed signal terminated program cc1plus'],
            ['out of memory', 'MAX_JOBS=1'],
        ),
        (['OSError: [Errno 28] No space left on device'], ['disk is full']),
        (['something', 'new'], ['pip failed while installing mmcv', 'something', 'new']),
    ],
    ids=['offline', 'no version', 'compiler', 'memory', 'disk', 'other'],
)
def test_explain_failure(lines, words):
    message = explain_failure(lines, 'mmcv', Path('some.log'))
    for word in [*words, 'some.log']:
        assert word in message
    assert 'Traceback' not in message


class TestLock:
    def test_second_waits_and_says_so(self, tmp_path, display):
        entered, said = threading.Event(), threading.Event()

        class Listener(Display):
            def line(self, text):
                assert f'process {os.getpid()}' in text
                assert 'waiting' in text
                said.set()

        def second():
            with locked(tmp_path, Listener(io.StringIO())):
                entered.set()

        with locked(tmp_path, display):
            thread = threading.Thread(target=second)
            thread.start()
            assert said.wait(10)
            assert not entered.is_set()
        thread.join(10)
        assert entered.is_set()

    def test_a_child_keeps_it(self, tmp_path, display):
        with locked(tmp_path, display) as lock:
            child = subprocess.Popen(['sleep', '60'], pass_fds=[lock])
        try:
            with open(tmp_path / LOCK) as file, pytest.raises(BlockingIOError):
                flags = environment_module.fcntl.LOCK_EX | environment_module.fcntl.LOCK_NB
                environment_module.fcntl.flock(file, flags)
        finally:
            child.kill()
            child.wait()
        with locked(tmp_path, display):
            pass
        assert display.stream.getvalue() == ''

    def test_folder_cannot_be_made(self, tmp_path, display):
        (tmp_path / 'file').write_text('')
        with pytest.raises(SetupError, match=r'cannot be written.*--venv'):
            with locked(tmp_path / 'file' / 'venv', display):
                pass


class TestFolder:
    @pytest.fixture
    def environment(self, tmp_path, display, monkeypatch):
        folder = tmp_path / 'venv'
        folder.mkdir()
        (folder / LOCK).write_text('1')
        made = Environment(folder, display)
        made.commands = []
        monkeypatch.setattr(made, 'run', lambda command, *_, **__: made.commands.append(command))
        return made

    def created(self, environment):
        return [command for command in environment.commands if 'venv' in command]

    def test_empty_or_killed_at_its_start(self, environment):
        (environment.folder / 'lib' / 'python3.11' / 'site-packages').mkdir(parents=True)
        environment.make()
        assert len(self.created(environment)) == 1
        assert 'making' in environment.display.stream.getvalue()

    def test_other_files_are_left_alone(self, environment):
        (environment.folder / 'thesis.tex').write_text('')
        with pytest.raises(SetupError, match=r'no virtual environment.*thesis\.tex'):
            environment.make()
        assert (environment.folder / 'thesis.tex').exists()

    def test_half_made_is_made_anew(self, environment):
        (environment.folder / 'pyvenv.cfg').write_text('')
        (environment.folder / 'bin').mkdir()
        (environment.folder / 'bin' / 'python').symlink_to('/no/python')
        with pytest.raises(SetupError, match='does not work'):  # whose it is, is not known
            environment.make()
        environment.log.write_text('')
        environment.make()
        assert len(self.created(environment)) == 1
        assert [path.name for path in environment.folder.iterdir()] == [LOCK]

    def test_real_environment_is_kept(self, environment):
        subprocess.run(
            [sys.executable, '-m', 'venv', '--without-pip', environment.folder], check=True
        )
        assert environment.works()
        environment.make()
        assert environment.commands == []

    def test_environment_copied_from_elsewhere_does_not_work(self, environment, tmp_path):
        other = tmp_path / 'other'
        subprocess.run([sys.executable, '-m', 'venv', '--without-pip', other], check=True)
        (environment.folder / 'bin').mkdir()
        environment.python.write_text(f'#!/bin/sh\nexec {other}/bin/python "$@"\n')
        environment.python.chmod(0o755)
        assert not environment.works()

    @pytest.mark.parametrize('module', ['venv', 'ensurepip'])
    def test_python_without_venv(self, environment, monkeypatch, module):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(SetupError, match=rf'without the module {module}.*apt install python3'):
            environment.make()

    def test_broken_pip_is_put_back(self, environment):
        site = environment.folder / 'lib' / 'python3.11' / 'site-packages'
        for name in ('pip', 'pip-26.3.dist-info', '~orch', 'six'):
            (site / name).mkdir(parents=True)
        environment.python.parent.mkdir()
        environment.python.write_text('#!/bin/sh\nexit 1\n')
        environment.python.chmod(0o755)
        environment.mend_pip()
        assert [path.name for path in site.iterdir()] == ['six']
        assert 'ensurepip' in environment.commands[0]


class TestRun:
    def run(self, tmp_path, display, script):
        environment = Environment(tmp_path, display)
        environment.run(['sh', '-c', script], 'mmcv', tmp_path / 'build.log', MARK='set')

    def test_log_and_progress(self, tmp_path, display):
        self.run(tmp_path, display, 'echo "[1/4] a"; echo "[3/4] $MARK"; echo end >&2')
        assert (tmp_path / 'build.log').read_text().endswith('[1/4] a\n[3/4] set\nend\n')
        assert 'compiling 3/4 (75 %)' in display.stream.getvalue()

    def test_failure(self, tmp_path, display):
        with pytest.raises(SetupError, match=r'compiler failed[^$]*a\.cpp:1[^$]*build\.log'):
            self.run(tmp_path, display, 'echo "a.cpp:1: error: no"; exit 3')

    def test_interrupt_stops_all_that_was_started(self, tmp_path):
        class Impatient(Display):
            def live(self, text, percent=None):
                raise KeyboardInterrupt

        shown = Impatient(io.StringIO())
        with pytest.raises(KeyboardInterrupt), locked(tmp_path, shown) as lock:
            environment = Environment(tmp_path, shown, lock)
            environment.run(['sh', '-c', 'sleep 60 & echo started; wait'], 'mmcv')
        # Every process of it held the lock.
        thread = threading.Thread(target=lambda: locked(tmp_path, shown).__enter__(), daemon=True)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()

    def test_home_and_path_of_another_python_are_kept_out(self, tmp_path, display, monkeypatch):
        monkeypatch.setenv('PYTHONPATH', '/other')
        monkeypatch.setenv('PIP_USER', '1')
        variables = Environment(tmp_path, display).variables(MORE='1')
        assert 'PYTHONPATH' not in variables
        assert variables['PIP_USER'] == '0'
        assert variables['MORE'] == '1'

    @pytest.mark.parametrize(('pip', 'knows'), [('23.2.1', False), ('24.1', True), ('26.3', True)])
    def test_old_pip_is_not_asked_for_its_progress(
        self, tmp_path, display, monkeypatch, pip, knows
    ):
        site = tmp_path / 'lib' / 'python3.11' / 'site-packages'
        (site / f'pip-{pip}.dist-info').mkdir(parents=True)
        environment, commands = Environment(tmp_path, display), []
        monkeypatch.setattr(environment, 'run', lambda command, *_, **__: commands.append(command))
        environment.pip(['six'], 'six')
        assert ('raw' in commands[0]) is knows
        assert commands[0][-1] == 'six'

    def test_answer_of_a_crashed_python(self, tmp_path, display):
        environment = Environment(tmp_path, display)
        (tmp_path / 'bin').mkdir()
        environment.python.write_text('#!/bin/sh\necho "Segmentation fault" >&2; exit 139\n')
        environment.python.chmod(0o755)
        assert environment.ask('check') == {'failed': 'check', 'error': 'Segmentation fault'}


class TestCompiler:
    @pytest.fixture
    def path(self, tmp_path, monkeypatch):
        for variable in ('CC', 'CXX'):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv('PATH', str(tmp_path))
        (tmp_path / 'Python.h').write_text('')
        monkeypatch.setattr(mmcv_build.sysconfig, 'get_path', lambda name: str(tmp_path))

        def add(name):
            (tmp_path / name).write_text('#!/bin/sh\n')
            (tmp_path / name).chmod(0o755)

        return add

    def test_missing_programs_are_named(self, path, tmp_path):
        with pytest.raises(SetupError, match=r"no C compiler .'gcc'.*build-essential"):
            mmcv_build.require_compiler()
        path('gcc')
        with pytest.raises(SetupError, match=r"no C\+\+ compiler .'g\+\+'"):
            mmcv_build.require_compiler()
        path('g++')
        mmcv_build.require_compiler()
        (tmp_path / 'Python.h').unlink()
        with pytest.raises(SetupError, match=r'Python\.h is missing.*-dev'):
            mmcv_build.require_compiler()

    def test_chosen_compiler(self, path, monkeypatch):
        path('gcc')
        path('ccache')
        monkeypatch.setenv('CXX', 'ccache clang++')
        mmcv_build.require_compiler()
        monkeypatch.setenv('CXX', 'absent')
        with pytest.raises(SetupError, match="'absent'"):
            mmcv_build.require_compiler()

    def test_jobs_fit_in_memory(self, monkeypatch):
        pages = {'SC_PAGE_SIZE': 4096, 'SC_PHYS_PAGES': 4 * 2**30 // 4096}
        monkeypatch.setattr(os, 'sysconf', pages.get)
        monkeypatch.setattr(os, 'sched_getaffinity', lambda _: range(64), raising=False)
        assert mmcv_build.default_jobs() == 2
        monkeypatch.setattr(os, 'sched_getaffinity', lambda _: range(1), raising=False)
        assert mmcv_build.default_jobs() == 1


class Fake(Environment):
    """An environment whose answers are set, and which notes what is run."""

    def __init__(self, folder, display, lock=None):
        super().__init__(folder, display, lock)
        self.pips, self.commands = [], []
        self.state = {'problems': {group: {} for group in GROUPS}, 'versions': {'six': '1'}}
        self.state['ops'] = ['_ext.so', 1, 2]
        self.checks = []
        self.torch = {'gpu': False, 'cuda': None}
        self.from_source = True

    def make(self):
        pass

    def mend_pip(self):
        pass

    def run(self, command, what, log=None, **more):
        self.commands.append(' '.join(map(str, command)))

    def pip(self, arguments, what, log=None, **more):
        self.pips.append((' '.join(map(str, arguments)).replace(str(ROOT), ''), more))
        if log:
            log.write_text('Building wheel for onedl-mmcv' if self.from_source else 'Using cached')
        self.state['problems'] = {group: {} for group in GROUPS}

    def ask(self, question, *arguments):
        if question == 'probe':
            return json.loads(json.dumps(self.state))
        if question == 'check':
            return self.checks.pop(0)
        return self.torch


@pytest.fixture
def fake(tmp_path, monkeypatch):
    made = Fake(tmp_path, Display(io.StringIO()))
    monkeypatch.setattr(setup_env, 'Environment', lambda *_: made)
    monkeypatch.setattr(mmcv_build, 'require_compiler', lambda: None)
    monkeypatch.setattr(mmcv_build.shutil, 'which', lambda name: None)
    monkeypatch.delenv('CUDA_HOME', raising=False)
    monkeypatch.delenv('MAX_JOBS', raising=False)
    made.purged = []
    monkeypatch.setattr(
        mmcv_build.subprocess, 'run', lambda command, **_: made.purged.append(command[-2:])
    )
    return made


def set_up(fake, cuda='auto', extras=()):
    setup_env.set_up(fake.folder, extras, cuda, fake.display)
    return fake.display.stream.getvalue()


class TestSetUp:
    def test_nothing_missing_is_checked_once(self, fake):
        fake.checks = [OK]
        assert 'checking' in set_up(fake)
        fake.display.stream.truncate(0)
        text = set_up(fake)  # no answer is left for a second check
        assert 'complete (1 packages' in text
        assert fake.pips == []

    @pytest.mark.parametrize(
        ('key', 'value'), [('versions', {'six': '2'}), ('ops', ['_ext.so', 1, 3])]
    )
    def test_a_change_is_checked_again(self, fake, key, value):
        fake.checks = [OK, OK]
        set_up(fake)
        fake.state[key] = value
        set_up(fake)
        assert fake.checks == []

    def test_spoilt_stamp_is_checked_again(self, fake):
        fake.checks = [OK]
        (fake.folder / STAMP).write_text('{"ver')
        set_up(fake)
        assert json.loads((fake.folder / STAMP).read_text())['versions'] == {'six': '1'}

    def test_order(self, fake):
        fake.state['problems'] = {
            'tools': {'ninja': 'missing'},
            'torch': {'torch==2.13.0': 'missing'},
            'packages': {'six==1.17.0; os_name == "posix"': 'missing', 'tqdm==4': 'missing'},
            'no_deps': {'onedl-mmdetection==3.5.1': 'missing'},
            'mmcv': {'onedl-mmcv==2.3.6': 'missing'},
            'project': {'mmdet-mobilenext': 'missing'},
        }
        fake.checks = [OK]
        text = set_up(fake)
        commands = [command for command, _ in fake.pips]
        words = ['ninja', 'torch==', 'six==', 'onedl-mmdetection==', 'onedl-mmcv', '-e']
        assert len(commands) == len(words)
        for command, word in zip(commands, words, strict=True):
            assert word in command
            assert ('--no-deps' in command) is (word in words[3:])
            assert '-c /requirements.txt' in command or word == '-e'
        assert '--no-build-isolation' in commands[4]
        assert 'no-cache' not in ' '.join(commands)
        more = fake.pips[4][1]
        assert more['MMCV_WITH_OPS'] == '1'
        assert more['FORCE_CUDA'] == '0'
        assert int(more['MAX_JOBS']) >= 1
        assert 'six==1.17.0, tqdm==4 (missing)' in text
        assert 'complete' in text.splitlines()[-1]

    def test_max_jobs_of_the_user(self, fake, monkeypatch):
        monkeypatch.setenv('MAX_JOBS', '7')
        mmcv_build.build_mmcv(fake, cuda=False)
        assert fake.pips[0][1]['MAX_JOBS'] == '7'

    def test_half_installed_is_written_over(self, fake):
        problems = {'a==1': 'only half installed', 'b==1': 'missing'}
        setup_env.install(fake, problems, 'why')
        assert [command.split()[-1] for command, _ in fake.pips] == ['a==1', 'b==1']
        assert ['--ignore-installed' in command for command, _ in fake.pips] == [True, False]

    def test_what_stays_wrong_is_an_error(self, fake, monkeypatch):
        fake.state['problems']['packages'] = {'six==9': 'missing'}
        monkeypatch.setattr(fake, 'pip', lambda *_, **__: None)
        with pytest.raises(SetupError, match=r'not as asked for: six==9 \(missing\).*setup\.log'):
            set_up(fake)
        assert not (fake.folder / STAMP).exists()

    def test_mmcv_without_ops_is_built_again(self, fake):
        fake.checks = [NO_OPS, OK]
        fake.state['ops'] = None
        text = set_up(fake)
        assert 'built without its compiled ops' in text
        assert len(fake.pips) == 1
        assert '--force-reinstall' in fake.pips[0][0]
        assert fake.purged == []

    def test_useless_cached_wheel_is_thrown_away(self, fake):
        fake.checks, fake.from_source = [NO_OPS, NO_OPS, OK], False
        text = set_up(fake)
        assert len(fake.pips) == 2
        assert fake.purged == [['remove', 'onedl_mmcv']]
        assert "wheel in pip's cache is no better" in text

    def test_ops_that_never_work(self, fake):
        fake.checks = [NO_OPS, NO_OPS]
        with pytest.raises(SetupError, match=r"mmcv's compiled NMS failed.*_ext"):
            set_up(fake)
        assert len(fake.pips) == 1  # built from source once: once more would give the same

    def test_no_rebuild_where_a_module_is_missing(self, fake):
        fake.checks = [{'failed': 'ops', 'error': "No module named 'addict'"}]
        with pytest.raises(SetupError, match='addict'):
            set_up(fake)
        assert fake.pips == []

    def test_cv2_that_does_not_import_is_replaced(self, fake):
        fake.checks = [{'failed': 'cv2', 'error': 'ImportError: libGL.so.1: not found'}, OK]
        assert 'libGL' in set_up(fake)
        assert 'uninstall -y opencv-python ' in fake.commands[0]
        assert fake.pips[0][0].split()[-1] == 'opencv-python-headless'

    def test_cv2_of_another_version_is_replaced(self, fake):
        problem = 'opencv-python 4.8 is there instead'
        fake.state['problems']['packages'] = {'opencv-python-headless==5': problem}
        fake.checks = [OK]
        assert problem in set_up(fake)
        assert 'uninstall' in fake.commands[0]
        assert len(fake.pips) == 1


GPU = {'gpu': True, 'cuda': '13.0'}


class TestCuda:
    @pytest.mark.parametrize(
        ('choice', 'torch', 'nvcc', 'wanted'),
        [
            ('auto', {'gpu': False, 'cuda': None}, True, False),
            ('auto', {'gpu': False, 'cuda': '13.0'}, True, False),
            ('auto', GPU, True, True),
            ('auto', GPU, False, False),
            ('auto', {'failed': 'torch_build', 'error': ''}, True, False),
            ('no', GPU, True, False),
            ('yes', {'gpu': False, 'cuda': '13.0'}, True, True),
        ],
    )
    def test_choice(self, fake, monkeypatch, choice, torch, nvcc, wanted):
        fake.torch = torch
        monkeypatch.setattr(mmcv_build.shutil, 'which', lambda _: '/bin/nvcc' if nvcc else None)
        assert mmcv_build.wants_cuda(fake, choice) is wanted
        said = fake.display.stream.getvalue()
        assert ('nvcc is not on PATH' in said) is (choice == 'auto' and not nvcc)

    def test_yes_that_cannot_be(self, fake):
        with pytest.raises(SetupError, match='CPU build'):
            mmcv_build.wants_cuda(fake, 'yes')
        fake.torch = GPU
        with pytest.raises(SetupError, match=r'nvcc is not on PATH.*13\.0'):
            mmcv_build.wants_cuda(fake, 'yes')

    def test_cpu_ops_on_a_gpu_machine_are_built_again(self, fake, monkeypatch):
        fake.torch, fake.checks = GPU, [OK, {**OK, 'cuda_ops': '13.0'}]
        monkeypatch.setattr(mmcv_build.shutil, 'which', lambda _: '/bin/nvcc')
        assert 'built for the CPU only' in set_up(fake)
        assert fake.pips[0][1]['FORCE_CUDA'] == '1'
        assert 'CUDA_VISIBLE_DEVICES' not in fake.pips[0][1]


class TestMain:
    @pytest.mark.parametrize(
        ('error', 'status', 'word'),
        [(SetupError('no six'), 1, 'no six'), (KeyboardInterrupt(), 130, 'run it again')],
    )
    def test_expected_failures_have_no_traceback(
        self, monkeypatch, capsys, tmp_path, error, status, word
    ):
        def fail(*_):
            raise error

        monkeypatch.setattr(setup_env, 'set_up', fail)
        monkeypatch.setattr(setup_env.signal, 'signal', lambda *_: None)
        assert setup_env.main(['--venv', str(tmp_path)]) == status
        printed = capsys.readouterr()
        assert printed.err.startswith('setup_env: ')
        assert word in printed.err
        assert printed.out == ''

    @pytest.mark.parametrize(
        ('variable', 'arguments', 'folder'),
        [
            (None, [], ROOT / '.venv'),
            ('', [], ROOT / '.venv'),
            ('other', [], ROOT / 'other'),
            ('/far/away', [], Path('/far/away')),
            ('other', ['--venv', '/chosen'], Path('/chosen')),
        ],
    )
    def test_folder(self, monkeypatch, variable, arguments, folder):
        monkeypatch.delenv('MMDET_MOBILENEXT_VENV', raising=False)
        if variable is not None:
            monkeypatch.setenv('MMDET_MOBILENEXT_VENV', variable)
        seen = []
        monkeypatch.setattr(setup_env, 'set_up', lambda *given: seen.append(given))
        monkeypatch.setattr(setup_env.signal, 'signal', lambda *_: None)
        assert setup_env.main([*arguments, '--extras', 'tests']) == 0
        assert seen[0][:3] == (folder, ['tests'], 'auto')

    @pytest.mark.parametrize('version', [(3, 9), (3, 14)])
    def test_python_out_of_range(self, version):
        code = (
            f'import runpy, sys; sys.version_info = (*{version}, 1); '
            f'runpy.run_path({str(TOOLS / "setup_env.py")!r})'
        )
        done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
        assert done.returncode == 1
        assert 'CPython 3.10 to 3.13 is needed' in done.stderr
        assert f'is Python 3.{version[1]}' in done.stderr
        assert 'Traceback' not in done.stderr


class TestScripts:
    @pytest.fixture
    def checkout(self, tmp_path):
        """A checkout whose Pythons only note how they are called."""
        for name in ('tools/benchmark.sh', 'tools/run_tests.sh', '.ci/run'):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
        (tmp_path / '.venv' / 'bin').mkdir(parents=True)
        for name, status in (('python3', 'SETUP'), ('.venv/bin/python', 'RUN')):
            file = tmp_path / name
            file.write_text(
                f'#!/bin/sh\necho "{name} $*" >> "{tmp_path}/calls"\n'
                f'echo "=== closing line ==="\nexit ${{{status}:-0}}\n'
            )
            file.chmod(0o755)
        return tmp_path

    def call(self, checkout, *command, **variables):
        environment = {
            'PATH': f'{checkout}:{os.environ["PATH"]}',
            'MMDET_MOBILENEXT_APT': '0',
            **variables,
        }
        done = subprocess.run(
            ['bash', *command], cwd='/', capture_output=True, text=True, env=environment
        )
        with contextlib.suppress(FileNotFoundError):
            return done, (checkout / 'calls').read_text().splitlines()
        return done, []

    def test_benchmark(self, checkout):
        done, calls = self.call(checkout, f'{checkout}/tools/benchmark.sh', '--seeds', '1 2')
        assert calls == [
            'python3 tools/setup_env.py',
            '.venv/bin/python tools/benchmark.py --seeds 1 2',
        ]
        assert done.returncode == 0

    def test_tests(self, checkout):
        done, calls = self.call(checkout, f'{checkout}/tools/run_tests.sh', '-k', 'x', RUN='2')
        assert calls == [
            'python3 tools/setup_env.py --extras tests',
            '.venv/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile -k x',
        ]
        assert done.returncode == 2

    @pytest.mark.parametrize('script', ['benchmark.sh', 'run_tests.sh'])
    def test_failed_set_up_ends_it(self, checkout, script):
        done, calls = self.call(checkout, f'{checkout}/tools/{script}', SETUP='1')
        assert done.returncode == 1
        assert len(calls) == 1

    @pytest.mark.parametrize('status', ['0', '1', '5'])
    def test_ci(self, checkout, status):
        done, calls = self.call(checkout, f'{checkout}/.ci/run', RUN=status)
        assert calls[-1] == '.venv/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile'
        assert done.returncode == int(status)
        assert done.stdout.splitlines()[-1] == '=== closing line ==='
