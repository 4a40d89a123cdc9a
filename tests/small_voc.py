# SPDX-License-Identifier: Apache-2.0
"""A small generated VOC set and a config that trains on it in seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from mmdet_mobilenext.datasets.generated_voc import generate_voc

ROOT = Path(__file__).resolve().parents[1]


def make_small_voc(dest: Path, train: int = 16, val: int = 5, test: int = 5) -> Path:
    """Generate the set; sizes that two processes do not divide."""
    splits = dict(train=train, val=val, test=test)
    return Path(generate_voc(dest, splits=splits, num_workers=0, progress=False))


def small_options(voc: Path, /, **more: object) -> list[str]:
    """``--cfg-options`` that make the demo config small and quick."""
    options = {
        'data_root': voc,
        'model.backbone.widen_factor': 0.35,
        'model.backbone.frozen_stages': -1,
        'model.neck.in_channels': '(104,200,336)',
        'model.neck.out_channels': '(104,200,336,256)',
        'model.bbox_head.in_channels': '(104,200,336,256)',
        'train_dataloader.batch_size': 4,
        'train_dataloader.num_workers': 0,
        'train_dataloader.persistent_workers': False,
        'val_dataloader.num_workers': 0,
        'val_dataloader.persistent_workers': False,
        'test_dataloader.num_workers': 0,
        'test_dataloader.persistent_workers': False,
        'train_cfg.max_epochs': 2,
        'train_cfg.val_interval': 2,
        'default_hooks.logger.interval': 1,
        **more,
    }
    return [f'{key}={value}' for key, value in options.items()]


def environment() -> dict[str, str]:
    """The environment of a tool: one thread, the checkout importable."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    return {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': path}


def run_tool(tool: str, *args: object, check: bool = True, **kwargs) -> subprocess.CompletedProcess:
    """Run a script of ``tools/`` to its end."""
    command = [sys.executable, str(ROOT / 'tools' / tool), *map(str, args)]
    if tool.endswith('.sh'):
        command = ['bash', *command[1:]]
    done = subprocess.run(
        command,
        env={**environment(), 'PYTHON': sys.executable},
        capture_output=True,
        text=True,
        timeout=600,
        **kwargs,
    )
    if check:
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    return done
