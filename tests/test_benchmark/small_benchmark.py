# SPDX-License-Identifier: Apache-2.0
"""Two small configs, and what it takes to compare them in seconds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from small_voc import ROOT, environment

SETTINGS = """
_base_ = {base!r}
generated_splits = None
data_root = {root!r}
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(data_root={root!r}),
)
val_dataloader = dict(
    num_workers=0, persistent_workers=False, dataset=dict(data_root={root!r})
)
test_dataloader = dict(
    num_workers=0, persistent_workers=False, dataset=dict(data_root={root!r})
)
train_cfg = dict(max_epochs=2, val_interval=2)
default_hooks = dict(logger=dict(interval=1))
"""


def write_config(folder: Path, voc: Path, backbone: str = 'mobilenext', more: str = '') -> Path:
    """A config that trains on a small set in seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / f'settings_{backbone}.py'
    base = str(ROOT / 'configs' / f'ssdlite_{backbone}_demo.py')
    settings.write_text(SETTINGS.format(base=base, root=str(voc)))
    path = folder / f'small_{backbone}.py'
    path.write_text(f'_base_ = {str(settings)!r}\n{more}\n')
    return path


def write_pair(folder: Path, voc: Path, more: str = '') -> list[Path]:
    """Such configs of both backbones, the baseline first."""
    return [write_config(folder, voc, name, more) for name in ('mobilenetv2', 'mobilenext')]


QUICK = ('--latency-runs', '3', '--train-runs', '2', '--resamples', '200', '--threads', '1')


def benchmark(*args: object, check: bool = True) -> subprocess.CompletedProcess:
    """Run ``tools/benchmark.py`` to its end, measuring little."""
    done = subprocess.run(_command(args), env=environment(), capture_output=True, text=True)
    if check:
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    return done


def kill_benchmark_when(condition, *args: object, timeout: float = 240) -> None:
    """Start ``tools/benchmark.py`` and kill it with SIGKILL as soon as a condition holds."""
    process = subprocess.Popen(
        _command(args),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + timeout
    try:
        while not condition():
            assert process.poll() is None, f'it ended by itself ({process.returncode})'
            assert time.monotonic() < end, 'the condition never held'
            time.sleep(0.02)
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()


def _command(args: tuple) -> list[str]:
    return [sys.executable, str(ROOT / 'tools' / 'benchmark.py'), *map(str, args), *QUICK]
