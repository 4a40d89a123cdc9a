# SPDX-License-Identifier: Apache-2.0
"""Make data, train a small MobileNeXt SSDLite on it, test it and draw its detections."""

import argparse
import os
import os.path as osp

# Before torch is loaded: see tools/train.py.
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')

ROOT = osp.dirname(osp.dirname(osp.abspath(__file__)))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--config',
        default=osp.join(ROOT, 'configs', 'ssdlite_mobilenext_demo.py'),
        help='config of the demo',
    )
    parser.add_argument('--work-dir', help='folder of logs, checkpoints and pictures')
    parser.add_argument('--data-root', help='where the generated data is or will be made')
    parser.add_argument('--seed', type=int, default=0, help='seed of data and training')
    parser.add_argument('--num-pictures', type=int, default=24, help='test images to draw')
    parser.add_argument('--cfg-options', nargs='+', help='overrides as key=value')
    args = parser.parse_args()
    if args.cfg_options:
        from mmengine.config import DictAction

        overrides = argparse.ArgumentParser()
        overrides.add_argument('--o', nargs='+', action=DictAction)
        args.cfg_options = overrides.parse_args(['--o', *args.cfg_options]).o
    return args


def main() -> None:
    args = parse_args()
    from mmdet_mobilenext.demo import run_demo
    from mmdet_mobilenext.engine.cli import stop_on_expected_errors

    with stop_on_expected_errors():
        run_demo(
            args.config,
            args.work_dir,
            args.data_root,
            args.seed,
            args.num_pictures,
            args.cfg_options,
        )


if __name__ == '__main__':
    main()
