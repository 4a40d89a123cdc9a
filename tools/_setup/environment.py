# SPDX-License-Identifier: Apache-2.0
"""A virtual environment: its lock, its folder, and the programs run in it."""

import collections
import contextlib
import fcntl
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from _setup.failures import SetupError, explain_failure
from _setup.progress import Display, Progress

INSIDE = Path(__file__).with_name('inside.py')
DEFAULT = Path(__file__).resolve().parents[2] / '.venv'
LOCK = '.setup.lock'
STAMP = 'setup.json'  # what the last successful check saw
ELSEWHERE = 'or choose another folder with MMDET_MOBILENEXT_VENV or --venv'


@contextlib.contextmanager
def locked(folder: Path, display: Display) -> Iterator[int]:
    """Hold an environment for this process; wait while another one holds it.

    Args:
        folder (Path): The environment's folder; made if it is not there.
        display (Display): Where to say that it waits.

    Yields:
        int: Descriptor of the lock. A child that inherits it keeps the lock for as long as it runs,
        so a pip that outlives a killed set-up still has the folder to itself.

    Raises:
        SetupError: If the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise SetupError(
            f'{folder} cannot be written: {error.strerror}. Mend it, {ELSEWHERE}.'
        ) from (None)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 32, 0).decode() or 'unknown'
            display.line(f'Another set-up (process {owner}) works on {folder}: waiting for it.')
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:  # some network file systems
            display.line(f'{folder} cannot be locked ({error.strerror}): run one set-up at a time.')
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


class Environment:
    """A virtual environment, and the programs run in it.

    Args:
        folder (Path): Its folder.
        display (Display): Where progress is shown.
        lock (int, optional): Descriptor that children inherit, see :func:`locked`.
    """

    def __init__(self, folder: Path, display: Display, lock: 'int | None' = None):
        self.folder, self.display, self.lock = folder, display, lock
        self.python = folder / 'bin' / 'python'
        self.log = folder / 'setup.log'

    def variables(self, **more: str) -> dict[str, str]:
        """Return the environment variables for a program in here, with some more."""
        away = ('PYTHONHOME', 'PYTHONPATH', '__PYVENV_LAUNCHER__')
        kept = {name: value for name, value in os.environ.items() if name not in away}
        kept.update(PIP_DISABLE_PIP_VERSION_CHECK='1', PIP_NO_INPUT='1', PIP_USER='0')
        kept.update(PYTHONNOUSERSITE='1', PYTHONUNBUFFERED='1')
        return {**kept, **more}

    def run(
        self, command: Sequence['str | Path'], what: str, log: 'Path | None' = None, **more: str
    ) -> None:
        """Run a program with its output in a log, showing its progress.

        Args:
            command (Sequence[str | Path]): Program and arguments.
            what (str): What it installs, for messages.
            log (Path, optional): Log file, written on at its end. Default: ``setup.log`` in the
                environment.
            more (str): Environment variables on top.

        Raises:
            SetupError: If it fails.
        """
        log = log or self.log
        progress, tail = Progress(), collections.deque(maxlen=4000)
        lines: queue.Queue = queue.Queue()
        self.display.start_live()
        with open(log, 'a', encoding='utf-8') as file:
            print('$', *command, file=file, flush=True)
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding='utf-8',
                errors='replace',
                env=self.variables(**more),
                start_new_session=True,  # one group, so that all of it can be stopped
                pass_fds=[] if self.lock is None else [self.lock],
            )

            def read() -> None:
                for line in process.stdout:
                    lines.put(line)
                lines.put(None)

            threading.Thread(target=read, daemon=True).start()
            try:
                while True:
                    try:
                        line = lines.get(timeout=1)
                    except queue.Empty:  # one file can compile for minutes: let the clock go on
                        self.display.live(progress.text(), progress.percent)
                        continue
                    if line is None:
                        break
                    progress.feed(line)
                    self.display.live(progress.text(), progress.percent)
                    if not progress.DOWNLOADED.match(line):
                        file.write(line)
                        tail.append(line.rstrip('\n'))
                status = process.wait()
            except BaseException:  # a Ctrl-C too: leave nothing running
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
                process.wait()
                raise
            finally:
                self.display.end_live()
        if status:
            tail.append(f'exit code {status}')
            raise SetupError(explain_failure(list(tail), what, log))

    def pip(
        self, arguments: Sequence['str | Path'], what: str, log: 'Path | None' = None, **more: str
    ) -> None:
        """Run ``pip install``; arguments as of :meth:`run`."""
        pip = [self.python, '-m', 'pip', 'install', '--progress-bar', 'raw']
        if not self.knows_raw_progress():
            pip = pip[:-2]
        self.run([*pip, *arguments], what, log, **more)

    def knows_raw_progress(self) -> bool:
        """Whether pip in here is 24.1 or newer, which can tell its progress to another program."""
        for path in self.folder.glob('lib/python3*/site-packages/pip-*.dist-info'):
            major, minor = path.name[len('pip-') :].split('.')[:2]
            return (int(major), int(minor)) >= (24, 1)
        return False

    def ask(self, question: str, *arguments: str) -> dict:
        """Put a question of ``inside.py`` to the Python in here.

        Returns:
            dict: The answer; ``failed`` and ``error`` if there is none.
        """
        done = subprocess.run(
            [self.python, '-W', 'ignore', INSIDE, question, *arguments],
            capture_output=True,
            text=True,
            env=self.variables(),
        )
        try:
            return json.loads(done.stdout.splitlines()[-1])
        except (IndexError, ValueError):
            error = done.stderr.strip().splitlines() or [f'exit code {done.returncode}']
            return {'failed': question, 'error': error[-1]}

    def works(self) -> bool:
        """Whether the Python in here starts and belongs here.

        Raises:
            SetupError: If it does, but is of another version than 3.10 to 3.13.
        """
        code = 'import sys; print((3, 10) <= sys.version_info[:2] <= (3, 13), sys.prefix)'
        try:
            done = subprocess.run(
                [self.python, '-I', '-c', code], capture_output=True, text=True, timeout=60
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        fits, _, prefix = done.stdout.strip().partition(' ')
        if done.returncode or not Path(prefix).exists() or not self.folder.samefile(prefix):
            return False
        if fits != 'True':
            raise SetupError(
                f'{self.folder} is not of a Python 3.10 to 3.13. Remove it, {ELSEWHERE}.'
            )
        return True

    def make(self) -> None:
        """Make the environment, or make one anew that a killed run left half made.

        Raises:
            SetupError: If the folder holds something else, or this Python cannot make one.
        """
        is_environment = (self.folder / 'pyvenv.cfg').exists()
        if is_environment and self.works():
            return
        files = [
            path
            for path in self.folder.rglob('*')
            if (path.is_symlink() or not path.is_dir()) and path.name not in (LOCK, self.log.name)
        ]
        if files and not is_environment:
            raise SetupError(
                f'{self.folder} is no virtual environment, but holds files ({files[0].name}, ...). '
                f'Move it away, {ELSEWHERE}.'
            )
        if files and self.folder != DEFAULT and not self.log.exists():  # not made by this
            raise SetupError(
                f'the environment {self.folder} does not work (its Python does not start). '
                f'Remove it, {ELSEWHERE}.'
            )
        for module in ('venv', 'ensurepip'):
            try:
                __import__(module)
            except ImportError:
                raise SetupError(
                    f'{sys.executable} comes without the module {module}. On Debian and Ubuntu: '
                    f'apt install python{sys.version_info[0]}.{sys.version_info[1]}-venv'
                ) from None
        if files:
            self.display.line(f'- {self.folder} is half made or broken: making it anew')
            for path in self.folder.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                elif path.name != LOCK:
                    path.unlink()
        else:
            self.display.line(f'- making {self.folder}, so that nothing outside it changes')
        self.run([sys.executable, '-m', 'venv', self.folder], 'the virtual environment')

    def mend_pip(self) -> None:
        """Put pip back if a killed upgrade broke it, and remove what such a run left over."""
        sites = list(self.folder.glob('lib/python3*/site-packages'))
        for path in (path for site in sites for path in site.glob('~*')):
            shutil.rmtree(path, ignore_errors=True)  # pip's own name for a package half removed
        command = [self.python, '-I', '-m', 'pip', '--version']
        if subprocess.run(command, capture_output=True).returncode:
            self.display.line('- putting pip back, which does not start')
            for pattern in ('pip', 'pip-*.dist-info'):
                for path in (path for site in sites for path in site.glob(pattern)):
                    shutil.rmtree(path)
            self.run([self.python, '-m', 'ensurepip', '--upgrade'], 'pip')
