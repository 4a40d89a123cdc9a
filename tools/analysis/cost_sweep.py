# SPDX-License-Identifier: Apache-2.0
"""Measure latency and memory over configs and swept settings of the model (docs/blocks.md)."""

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
    add('configs', nargs='+', help='detector configs, the baseline first')
    add(
        '--sweep',
        nargs='+',
        action='append',
        default=[],
        metavar='KEY VALUE',
        help='a key of the model and its values, which may be fractions, the baseline first; '
        'may be given several times for all combinations',
    )
    add('--cfg-options', nargs='+', action=DictAction, help='overrides of all configs')
    add('--parts', nargs='+', default=['detector', 'network', 'backbone'], help='what is timed')
    add(
        '--runtimes',
        nargs='+',
        default=['eager', 'onnxruntime', 'openvino'],
        help='those that are not installed are left out',
    )
    add('--batch-sizes', nargs='+', type=int, default=[1, 8], help='images')
    add('--rounds', type=int, default=30, help='counted runs of each candidate')
    add('--warm-up', type=int, default=5, help='runs of each that are not counted')
    add('--threads', type=int, help='CPU threads; by default those of PyTorch')
    add('--no-memory', action='store_true', help='do not measure peak memory')
    add('--json', help='file for all times')
    add('--markdown', help='file for the tables')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import mmdet_mobilenext  # noqa: F401
    from mmdet_mobilenext.benchmark.speed.sweep_command import run
    from mmdet_mobilenext.engine.cli import stop_on_expected_errors

    with stop_on_expected_errors():
        run(args)


if __name__ == '__main__':
    main()
