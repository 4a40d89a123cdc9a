# SPDX-License-Identifier: Apache-2.0
"""Compare exported files with PyTorch on the test set: detections and metric (docs/export.md)."""

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
    add('--images', type=int, default=500, help='from the beginning of the test set')
    add('--batch-sizes', nargs='+', type=int, default=[1, 8], help='images of a run')
    add('--score-thr', type=float, default=0.05, help='detections above it are compared')
    add('--threads', type=int, help='CPU threads; by default those of PyTorch')
    add('--json', help='file for the results')
    add('--cfg-options', nargs='+', action=DictAction, help='overrides as key=value')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import sys

    import mmdet_mobilenext  # noqa: F401
    from mmdet_mobilenext.engine.cli import stop_on_expected_errors
    from mmdet_mobilenext.export.parity_command import run

    with stop_on_expected_errors():
        sys.exit(0 if run(args) else 1)


if __name__ == '__main__':
    main()
