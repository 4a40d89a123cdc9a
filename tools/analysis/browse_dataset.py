# SPDX-License-Identifier: Apache-2.0
"""Draw training images as annotated, after each transform, and as the network sees them."""

import argparse

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, or mmdet::name')
    parser.add_argument('out_dir', help='folder for the pictures; sheet.png has all of them')
    parser.add_argument('--number', type=int, default=12, help='images (default: %(default)s)')
    parser.add_argument(
        '--mode',
        choices=('pair', 'final', 'steps'),
        default='pair',
        help='annotated and final picture, the final one alone, or one after each transform '
        '(default: %(default)s)',
    )
    parser.add_argument('--columns', type=int, help='images side by side on the sheet')
    parser.add_argument('--seed', type=int, default=0, help='of images and augmentation')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='key=value overrides of the config'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from mmdet_mobilenext.analysis.browse import browse
    from mmdet_mobilenext.engine.cli import stop_on_expected_errors
    from mmdet_mobilenext.engine.config import load_config

    with stop_on_expected_errors():
        cfg = load_config(args.config, args.cfg_options)
        paths = browse(cfg, args.out_dir, args.number, args.seed, args.mode, args.columns)
        print(f'{len(paths) - 1} pictures, all of them on {paths[0]}')


if __name__ == '__main__':
    main()
