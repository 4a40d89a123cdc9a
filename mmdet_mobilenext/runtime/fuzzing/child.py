# SPDX-License-Identifier: Apache-2.0
"""The process that a fuzzed detector runs in: strings come in, one line of JSON a string goes out.

    python -m mmdet_mobilenext.runtime.fuzzing.child MODEL MEMORY

It says ``ready`` first. Each string has its length before it, eight bytes. The process may end at
any of them; who started it sees that.
"""

from __future__ import annotations

import json
import os
import resource
import struct
import sys
import time
import traceback

from mmdet_mobilenext.runtime import Detector, ImageError

__all__ = ['main', 'memory_mb', 'try_string']


def memory_mb(name: str, process: int | str = 'self') -> float:
    """Memory of a process, from Linux.

    Args:
        name (str): ``'VmRSS'``, what is resident, or ``'VmHWM'``, the most that was.
        process (int | str): Its number. Defaults to this one.

    Returns:
        float: MB (10**6 bytes).

    Example:
        >>> memory_mb('VmHWM') >= memory_mb('VmRSS') > 1
        True
    """
    with open(f'/proc/{process}/status', encoding='ascii') as file:
        line = next(line for line in file if line.startswith(name))
    return int(line.split()[1]) * 1024 / 1e6


def try_string(detector: Detector, data: bytes) -> tuple[str, str]:
    """Give a string to a detector.

    Args:
        detector (Detector): Or anything that is called like one.
        data (bytes): Content of a file, perhaps.

    Returns:
        tuple[str, str]: ``'detections'``, ``'ImageError'`` or ``'other'``, and the message or
        traceback.

    Example:
        >>> from mmdet_mobilenext.runtime import read_image
        >>> try_string(read_image, b'')
        ('ImageError', 'the image is empty')
    """
    try:
        detector(data)
    except ImageError as error:
        return 'ImageError', str(error)
    except Exception:
        return 'other', traceback.format_exc()
    return 'detections', ''


def main() -> None:
    """Answer until there are no more strings."""
    model, most = sys.argv[1:]
    answers = os.fdopen(os.dup(1), 'w', encoding='utf-8')
    os.dup2(2, 1)  # what libraries print must not get among the answers
    detector = Detector(model, threads=1)
    if float(most):
        limit = int(float(most) * 1e6)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    print('ready', file=answers, flush=True)
    strings = sys.stdin.buffer
    while head := strings.read(8):
        data = strings.read(struct.unpack('>Q', head)[0])
        with open('/proc/self/clear_refs', 'w', encoding='ascii') as file:
            file.write('5')  # the most that was begins anew
        start = time.perf_counter()
        outcome, text = try_string(detector, data)
        seconds = time.perf_counter() - start
        answer = dict(outcome=outcome, text=text, seconds=seconds)
        answer.update(peak_mb=memory_mb('VmHWM'), resident_mb=memory_mb('VmRSS'))
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == '__main__':
    main()
