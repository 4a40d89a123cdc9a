# SPDX-License-Identifier: Apache-2.0
"""What a failed pip means for the user."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

COMPILER_ERROR = re.compile(
    r'(: |^\s*)(fatal )?error: |undefined reference|cannot find -l|Killed signal'
    r'|ninja: (error|build)'
)
SOURCE_FILE = re.compile(r'\.(cpp|cc|c|cu|h|hpp|cuh|o|so)\b|ninja|\bld\b')
NETWORK_ERROR = re.compile(
    r'NewConnectionError|NameResolutionError|Failed to resolve|Failed to establish a new connection'
    r'|Temporary failure in name resolution|Connect(?:ion)?Timeout|[Rr]ead ?timed out'
    r'|ReadTimeoutError|Connection (?:refused|reset|broken|aborted|timed out)|ProxyError'
    r'|Network is unreachable|Max retries exceeded|SSLError|HTTP error [45]\d\d|IncompleteRead'
)
PACKAGE = re.compile(
    r'(?:No matching distribution found for|that satisfies the requirement) (\S+)'
    r'|/simple/([\w.-]+)/'
)


class SetupError(Exception):
    """An expected failure, whose message says what to do."""


def explain_failure(lines: Sequence[str], what: str, log: Path) -> str:
    """Say in words for a user why pip failed.

    Args:
        lines (Sequence[str]): The last lines that pip printed.
        what (str): What was to be installed.
        log (Path): Where the complete output is.

    Returns:
        str: The cause, what to do, and where to read on.

    Example:
        >>> lines = ['OSError: [Errno 28] No space left on device']
        >>> explain_failure(lines, 'torch', Path('setup.log')).split('.')[0]
        'the disk is full (while installing torch)'
    """
    text = '\n'.join(lines)
    end = f'The complete output is in {log}.'
    again = 'Then run the same command again: what is installed already is kept.'
    if 'No space left on device' in text or 'Disk quota exceeded' in text:
        return f'the disk is full (while installing {what}). Free at least 3 GB. {again} {end}'
    if 'Killed signal' in text or 'cannot allocate memory' in text.lower():
        return (
            f'the compiler ran out of memory (while building {what}). Set MAX_JOBS=1, or a smaller '
            f'number than now, to run fewer compilers at once. {again} {end}'
        )
    errors = [line for line in lines if COMPILER_ERROR.search(line)]
    if any(SOURCE_FILE.search(line) for line in errors):
        return f'the compiler failed while building {what}:\n{_indented(errors[-12:])}\n{end}'
    names = [first or second for first, second in PACKAGE.findall(text)]
    name = names[-1] if names else what
    if NETWORK_ERROR.search(text):
        return (
            f'{name} could not be fetched: the package index cannot be reached. Check the network, '
            f'the proxy and PIP_INDEX_URL. {again} {end}'
        )
    if 'No matching distribution' in text:
        version = f'{sys.version_info[0]}.{sys.version_info[1]}'
        return (
            f'the package index has no {name} for Python {version} on this kind of machine. Try '
            f'another Python (remove the environment, then PYTHON=python3.11 bash ...), or another '
            f'PIP_INDEX_URL. {end}'
        )
    shown = [line for line in lines[-15:] if line.strip()]
    return f'pip failed while installing {what}:\n{_indented(shown)}\n{end}'


def _indented(lines: Sequence[str]) -> str:
    return '\n'.join('    ' + line.strip()[:300] for line in lines)
