# SPDX-License-Identifier: Apache-2.0
"""mmcv, built from source beside the installed torch."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from _setup.environment import Environment
from _setup.failures import SetupError
from _setup.inside import REQUIREMENTS

BESIDE = '--no-build-isolation'  # build with the setuptools and the torch of the environment
BYTES_PER_COMPILER = 1.5 * 2**30  # one compiler at work on mmcv took 1 GB


def default_jobs() -> int:
    """Return how many compilers to run at once: one per usable CPU, as far as memory allows."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    return max(1, min(cpus, int(memory / BYTES_PER_COMPILER)))


def require_compiler() -> None:
    """Check for what builds mmcv.

    Raises:
        SetupError: If a compiler or Python's headers are missing.
    """
    for variable, default, language in (('CC', 'gcc', 'C'), ('CXX', 'g++', 'C++')):
        program = os.environ.get(variable, default)
        if not shutil.which((program.split() or [''])[0]):
            raise SetupError(
                f'no {language} compiler ({program!r} is not on PATH), but mmcv is built from '
                'source. On Debian and Ubuntu: apt install build-essential'
            )
    header = Path(sysconfig.get_path('include')) / 'Python.h'
    if not header.exists():
        raise SetupError(
            f'{header} is missing, and mmcv is built from source. On Debian and Ubuntu: '
            f'apt install python{sys.version_info[0]}.{sys.version_info[1]}-dev'
        )


def build_mmcv(
    environment: Environment, cuda: bool, purge: bool = False, options: Sequence[str] = ()
) -> bool:
    """Install onedl-mmcv, from pip's cached wheel or from source.

    Args:
        environment (Environment): Where to.
        cuda (bool): Whether to build its ops for GPUs as well.
        purge (bool): Throw away the wheel in pip's cache first. Default: False.
        options (Sequence[str]): More options of ``pip install``.

    Returns:
        bool: Whether it was built from source.

    Raises:
        SetupError: If it cannot be built.
    """
    require_compiler()
    jobs = os.environ.get('MAX_JOBS') or str(default_jobs())
    variables = {'MMCV_WITH_OPS': '1', 'MAX_JOBS': jobs, 'FORCE_CUDA': '1' if cuda else '0'}
    if not cuda:
        variables['CUDA_VISIBLE_DEVICES'] = ''  # mmcv builds for GPUs wherever torch sees one
    if purge:
        command = [environment.python, '-m', 'pip', 'cache', 'remove', 'onedl_mmcv']
        subprocess.run(command, capture_output=True, env=environment.variables())
    log = environment.folder / 'mmcv-build.log'
    log.unlink(missing_ok=True)
    environment.display.line(
        f'- mmcv with its compiled ops (NMS is one) for {"GPU and CPU" if cuda else "CPU"}: '
        f'seconds if pip has the wheel, else about 15 minutes on 2 cores; log: {log}'
    )
    arguments = [*options, '-v', '--no-deps', BESIDE, '-c', REQUIREMENTS, 'onedl-mmcv']
    environment.pip(arguments, 'onedl-mmcv', log, **variables)
    return 'Building wheel for onedl-mmcv' in log.read_text(encoding='utf-8', errors='replace')


def rebuild_mmcv(environment: Environment, cuda: bool, why: str) -> dict:
    """Replace an mmcv that does not work.

    Args:
        environment (Environment): Where to.
        cuda (bool): Whether to build its ops for GPUs as well.
        why (str): What is wrong with it, for the line that says so.

    Returns:
        dict: Answer of ``check`` afterwards.
    """
    for purge in (False, True):
        environment.display.line(f'  {why}: installing it again')
        from_source = build_mmcv(environment, cuda, purge, ['--force-reinstall'])
        report = environment.ask('check')
        if cuda and not report['failed'] and not report['cuda_ops']:
            report = {'failed': 'ops', 'error': 'built for the CPU only all the same'}
        if from_source or report['failed'] not in ('ops', 'check'):
            break
        why = f"the wheel in pip's cache is no better ({report['error']})"
    return report


def wants_cuda(environment: Environment, choice: str) -> bool:
    """Decide whether to build mmcv's ops for GPUs.

    Args:
        environment (Environment): Where torch is installed.
        choice (str): ``'auto'``, ``'yes'`` or ``'no'``.

    Raises:
        SetupError: If they are asked for, but cannot be built.
    """
    if choice == 'no':
        return False
    torch = environment.ask('torch_build')
    nvcc = shutil.which('nvcc') or os.environ.get('CUDA_HOME')
    if choice == 'auto':
        if torch.get('gpu') and not nvcc:
            environment.display.line(
                '  torch sees a GPU, but nvcc is not on PATH: mmcv is built for the CPU only, and '
                'GPU training stops at its first validation. Install the CUDA toolkit '
                f'{torch["cuda"]}, then: python3 tools/setup_env.py --with-cuda yes'
            )
        return bool(torch.get('gpu') and torch.get('cuda') and nvcc)
    if not torch.get('cuda'):
        raise SetupError(
            f'--with-cuda yes: the torch in {environment.folder} is a CPU build. Install a CUDA '
            'build of the version in requirements.txt there first.'
        )
    if not nvcc:
        raise SetupError(
            f'--with-cuda yes: nvcc is not on PATH. Install the CUDA toolkit {torch["cuda"]}.'
        )
    return True
