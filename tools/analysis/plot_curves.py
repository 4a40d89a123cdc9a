# SPDX-License-Identifier: Apache-2.0
"""Draw losses, learning rates and metrics of one or several trainings over their iterations."""

import argparse


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dirs', nargs='+', help='work directories')
    parser.add_argument('--plot', metavar='FILE', required=True, help='.png, .svg or .pdf')
    parser.add_argument(
        '--keys', nargs='+', default=['loss', 'lr', 'mAP'], help='default: loss lr mAP'
    )
    parser.add_argument('--names', nargs='+', help='of the trainings (default: the folders)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from mmdet_mobilenext.analysis.log_curves import curve_figure
    from mmdet_mobilenext.analysis.pictures import save_figure
    from mmdet_mobilenext.benchmark.speed.plot import check_plot_path
    from mmdet_mobilenext.engine.cli import stop_on_expected_errors

    with stop_on_expected_errors():
        check_plot_path(args.plot)
        save_figure(curve_figure(args.work_dirs, args.keys, args.names), args.plot)
        print(f'wrote {args.plot}')


if __name__ == '__main__':
    main()
