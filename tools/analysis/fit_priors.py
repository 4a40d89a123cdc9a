# SPDX-License-Identifier: Apache-2.0
"""Fit priors to the training objects by k-means, and compare them on other images."""

import argparse

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file of an SSDLite detector')
    parser.add_argument(
        '--on',
        choices=('annotated', 'augmented'),
        default='augmented',
        help='training objects as annotated or as the network sees them (default: %(default)s)',
    )
    parser.add_argument(
        '--held-out',
        choices=('val', 'test'),
        default='val',
        help='set on which priors are compared (default: %(default)s)',
    )
    parser.add_argument('--number', type=int, help='images of each set (default: all)')
    parser.add_argument('--seed', type=int, default=0, help='of images and clusters')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='key=value overrides of the config'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from rich import print as rich_print

    from mmdet_mobilenext.analysis.coverage_report import coverage_tables
    from mmdet_mobilenext.analysis.prior_fit import compare_priors, config_lines
    from mmdet_mobilenext.benchmark.speed.lineup import be_quiet
    from mmdet_mobilenext.engine.cli import stop_on_expected_errors
    from mmdet_mobilenext.engine.config import load_config

    be_quiet()
    with stop_on_expected_errors():
        cfg = load_config(args.config, args.cfg_options)
        priors, summaries = compare_priors(cfg, args.on, args.held_out, args.number, args.seed)
        rich_print(coverage_tables(summaries))
        print(config_lines(priors))


if __name__ == '__main__':
    main()
