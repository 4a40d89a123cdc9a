# SPDX-License-Identifier: Apache-2.0
"""Measure the latency of exported files beside PyTorch, batch 1, on the CPU (docs/export.md)."""

import argparse
import os

# Before torch is loaded: see tools/train.py.
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add('config', help='config file, or package::file of an installed package')
    add('checkpoint', help='checkpoint file')
    add(
        '--models',
        nargs='+',
        required=True,
        metavar='FILE[=BACKEND]',
        help='exported files, and what runs them: onnxruntime, openvino or ncnn',
    )
    add('--rounds', type=int, default=200, help='counted runs of each candidate')
    add('--warm-up', type=int, default=20, help='runs of each that are not counted')
    add('--images', type=int, default=64, help='test images, one after the other')
    add('--threads', type=int, default=2, help='CPU threads of each candidate')
    add('--seed', type=int, default=0, help='of the order of the candidates in each round')
    add('--json', help='file for all times')
    add('--markdown', help='file for the tables')
    add('--cfg-options', nargs='+', action=DictAction, help='overrides as key=value')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import mmdet_mobilenext  # noqa: F401
    from mmdet_mobilenext.benchmark.speed.deployed_command import run
    from mmdet_mobilenext.engine.cli import stop_on_expected_errors

    with stop_on_expected_errors():
        run(args)


if __name__ == '__main__':
    main()
