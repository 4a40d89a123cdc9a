# SPDX-License-Identifier: Apache-2.0
"""OpenVINO beside signals that Python handles."""

import subprocess
import sys

SCRIPT = """
import os, signal, sys
from mmdet_mobilenext.runtime import Detector

seen = []
signal.signal(signal.SIGCHLD, lambda *args: seen.append(1))
first, second = (Detector(sys.argv[1], 'openvino', threads=1) for _ in range(2))
del first  # before the second, which was made later
del second
os.kill(os.getpid(), signal.SIGCHLD)
print('survived', bool(seen))
"""


def test_signals_after_models_that_ended_in_the_order_of_their_making(small_onnx, root):
    done = subprocess.run(
        [sys.executable, '-c', SCRIPT, small_onnx],
        capture_output=True,
        text=True,
        cwd=root,
        timeout=300,
    )
    assert (done.returncode, done.stdout.split()[-2:]) == (0, ['survived', 'True']), done.stderr
