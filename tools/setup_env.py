#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Make the project's virtual environment, or complete the one that is there.

    python3 tools/setup_env.py [--venv .venv] [--extras tests] [--with-cuda auto] [--quiet]

Safe to run twice, at once, or after a killed run: what is there and right is left alone. mmcv is
built from source beside the installed torch (about 15 minutes on 2 cores; pip keeps the wheel for
the next time), and at the end its compiled ops are run. Only the standard library is used here.
"""

import os
import sys

# Said before anything that an older Python cannot run; this file must parse there. The pinned numpy
# has no build for 3.14.
if not (3, 10) <= sys.version_info[:2] <= (3, 13):
    sys.exit(
        'setup_env: CPython 3.10 to 3.13 is needed, but {} is Python {}.{}. Start with another '
        'one: PYTHON=python3.12 bash tools/benchmark.sh, or python3.12 tools/setup_env.py'.format(
            sys.executable, *sys.version_info[:2]
        )
    )
if os.name != 'posix':
    sys.exit('setup_env: Linux or macOS is needed; on Windows, work inside WSL.')

import argparse
import contextlib
import json
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from _setup.environment import DEFAULT, STAMP, Environment, locked
from _setup.failures import SetupError
from _setup.inside import CV2, CV2_OTHERS, PROJECT, REQUIREMENTS, ROOT
from _setup.mmcv_build import BESIDE, build_mmcv, rebuild_mmcv, wants_cuda
from _setup.progress import Display, duration

PARTS = {'ops': "mmcv's compiled NMS", 'check': 'the check', 'project': 'mmdet_mobilenext'}


def listing(problems: dict) -> str:
    """Return the problems as one line, by what is wrong.

    Example:
        >>> listing({'six==1.17.0': 'missing', 'tqdm==4.70.1; python_version > "3"': 'missing'})
        'six==1.17.0, tqdm==4.70.1 (missing)'
    """
    names: dict = {}
    for name, problem in problems.items():
        names.setdefault(problem, []).append(name.partition(';')[0])
    return '; '.join(f'{", ".join(group)} ({problem})' for problem, group in names.items())


def half_installed(problem: str) -> list[str]:
    """Return the options of pip that install over a package that was cut short."""
    # There is no complete list of its files to uninstall it by.
    return ['--ignore-installed'] if problem.startswith('only half') else []


def install(
    environment: Environment, problems: dict, why: str, options: Sequence[str] = ()
) -> None:
    """Install what a group of problems names; all that requirements.txt pins stays as pinned.

    Args:
        environment (Environment): Where to.
        problems (dict[str, str]): What is wrong, by requirement.
        why (str): What the group is, for the line that says so.
        options (Sequence[str]): Options of ``pip install``.
    """
    if not problems:
        return
    environment.display.line(f'- {why}: {listing(problems)}')
    half = [name for name, problem in problems.items() if half_installed(problem)]
    rest = [name for name in problems if name not in half]
    options = [*options, '-c', REQUIREMENTS]
    if half:
        environment.pip(
            [*options, '--no-deps', *half_installed('only half'), *half], ' '.join(half)
        )
    if rest:
        environment.pip([*options, *rest], ' '.join(rest))


def replace_cv2(environment: Environment, why: str) -> None:
    """Put the cv2 of requirements.txt in the place of any other."""
    environment.display.line(f'- {CV2} in the place of another cv2: {why}')
    command = [environment.python, '-m', 'pip', 'uninstall', '-y', *CV2_OTHERS, CV2]
    environment.run(command, 'cv2')
    environment.pip(['--no-deps', '-c', REQUIREMENTS, CV2], CV2)


def complete(environment: Environment, found: dict, cuda_choice: str) -> None:
    """Install what is missing: first all that is quick, so that its failures show early.

    Args:
        environment (Environment): Where to.
        found (dict): Answer of ``probe``.
        cuda_choice (str): See :func:`wants_cuda`.
    """
    problems = found['problems']
    install(environment, problems['tools'], 'tools that build packages', ['--upgrade'])
    install(environment, problems['torch'], 'torch, which mmcv is built against')
    other_cv2 = [name for name, problem in problems['packages'].items() if 'instead' in problem]
    for name in other_cv2:
        replace_cv2(environment, problems['packages'].pop(name))
    install(environment, problems['packages'], 'packages that the project uses', [BESIDE])
    install(
        environment,
        problems['no_deps'],
        'mmdet and what it needs, without a second cv2',
        ['--no-deps', BESIDE],
    )
    for problem in problems['mmcv'].values():
        cuda = wants_cuda(environment, cuda_choice)
        build_mmcv(environment, cuda, options=half_installed(problem))
    for problem in problems['project'].values():
        environment.display.line(f'- the project itself, linked to this checkout ({problem})')
        over = half_installed(problem)
        environment.pip([*over, '--no-deps', BESIDE, '-e', ROOT], PROJECT)


def verify(environment: Environment, cuda_choice: str) -> None:
    """Run the check, and rebuild mmcv or replace cv2 where it shows that they do not work.

    Args:
        environment (Environment): Where everything is installed.
        cuda_choice (str): See :func:`wants_cuda`.

    Raises:
        SetupError: If something does not work all the same.
    """
    environment.display.line('- checking that it works: NMS on three boxes, and the imports')
    report = environment.ask('check')
    if report['failed'] == 'cv2':
        replace_cv2(environment, report['error'])
        report = environment.ask('check')
    needs_module = 'No module named' in report['error'] and 'mmcv._ext' not in report['error']
    rebuild = None
    if report['failed'] in ('ops', 'check') and not needs_module:
        rebuild = f'mmcv is there, but its compiled ops do not work ({report["error"]})'
        if not look(environment, ())['ops']:
            rebuild = 'mmcv is there, but was built without its compiled ops'
        cuda = wants_cuda(environment, cuda_choice)
    elif not report['failed'] and not report['cuda_ops'] and wants_cuda(environment, cuda_choice):
        rebuild, cuda = 'mmcv is there, but its ops were built for the CPU only', True
    if rebuild:
        report = rebuild_mmcv(environment, cuda, rebuild)
    if report['failed']:
        part = PARTS.get(report['failed'], report['failed'])
        raise SetupError(
            f'all is installed in {environment.folder}, but {part} failed: {report["error"]}. If '
            'packages there were changed by hand, remove the folder and run this again.'
        )


def look(environment: Environment, extras: Sequence[str]) -> dict:
    """Return the answer of ``probe``.

    Raises:
        SetupError: If there is none.
    """
    found = environment.ask('probe', *extras)
    if 'failed' in found:  # a broken pip, perhaps
        environment.mend_pip()
        found = environment.ask('probe', *extras)
    if 'error' in found:
        raise SetupError(f'{environment.folder} cannot be looked at: {found["error"]}')
    if 'unknown' in found:
        raise SetupError(found['unknown'])
    return found


def set_up(folder: Path, extras: Sequence[str], cuda_choice: str, display: Display) -> None:
    """Make or complete the environment.

    Args:
        folder (Path): Its folder.
        extras (Sequence[str]): Extras of the project to install.
        cuda_choice (str): See :func:`wants_cuda`.
        display (Display): Where to say what is done.

    Raises:
        SetupError: With what to do, if it could not be done.
    """
    started = time.monotonic()
    with locked(folder, display) as lock:
        environment = Environment(folder, display, lock)
        environment.make()
        stamp = folder / STAMP
        found = look(environment, extras)
        if any(found['problems'].values()):
            environment.mend_pip()
            complete(environment, found, cuda_choice)
            found = look(environment, extras)
            left = {k: v for group in found['problems'].values() for k, v in group.items()}
            if left:
                raise SetupError(
                    f'installed, and yet not as asked for: {listing(left)}. The output of pip is '
                    f'in {environment.log}.'
                )
        gpu = [Path('/dev/nvidiactl').exists(), bool(shutil.which('nvcc'))]
        # The check stays true for as long as all of this does.
        seen = {'versions': found['versions'], 'ops': found['ops'], 'cuda': cuda_choice, 'gpu': gpu}
        with contextlib.suppress(OSError, ValueError):
            if json.loads(stamp.read_text(encoding='utf-8')) == seen:
                gone = time.monotonic() - started
                display.line(
                    f'{folder}: complete ({len(found["versions"])} packages, {gone:.1f} s)'
                )
                return
        verify(environment, cuda_choice)
        found = look(environment, extras)
        seen.update(versions=found['versions'], ops=found['ops'])
        new = stamp.with_suffix('.new')
        new.write_text(json.dumps(seen), encoding='utf-8')
        new.replace(stamp)
        display.line(f'{folder}: complete, after {duration(time.monotonic() - started)}')


def parse_args(arguments: 'Sequence[str] | None' = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument(
        '--venv',
        type=Path,
        help='folder of the environment (default: MMDET_MOBILENEXT_VENV, or .venv in the checkout)',
    )
    parser.add_argument(
        '--extras',
        nargs='*',
        default=[],
        help='extras of the project to install: tests, dev, export, demo, web, ...',
    )
    parser.add_argument(
        '--with-cuda',
        choices=('auto', 'yes', 'no'),
        default='auto',
        help="build mmcv's ops for GPUs (default: auto, where torch sees a GPU and nvcc is found)",
    )
    parser.add_argument('--quiet', action='store_true', help='print errors only')
    return parser.parse_args(arguments)


def main(arguments: 'Sequence[str] | None' = None) -> int:
    """Run the command line.

    Returns:
        int: Exit code: 0, 1 for a failure that the message explains, 130 if it was stopped.
    """
    args = parse_args(arguments)
    folder = args.venv or ROOT / (os.environ.get('MMDET_MOBILENEXT_VENV') or DEFAULT)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    display = Display(sys.stdout, args.quiet)
    try:
        set_up(folder.expanduser().absolute(), args.extras, args.with_cuda, display)
    except SetupError as error:
        display.end_live()
        print(f'setup_env: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        display.end_live()
        print('setup_env: stopped; run it again to go on from here', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
