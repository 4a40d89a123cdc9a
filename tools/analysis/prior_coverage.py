# SPDX-License-Identifier: Apache-2.0
"""How well the priors of a config cover the objects of its data, before and after augmentation."""

import argparse

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, or mmdet::name')
    parser.add_argument('--number', type=int, help='images, at random (default: all)')
    parser.add_argument('--seed', type=int, default=0, help='of images and augmentation')
    parser.add_argument(
        '--size-edges',
        type=float,
        nargs='+',
        default=[32, 96],
        help='roots of areas, in pixels of the input, where sizes part (default: 32 96, as COCO)',
    )
    parser.add_argument('--plot', metavar='FILE', help='picture, .png, .svg or .pdf')
    parser.add_argument('--json', metavar='FILE', help='write the numbers to FILE as well')
    parser.add_argument(
        '--shape', type=int, nargs='+', help='height and width of the input (default: the config)'
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='key=value overrides of the config'
    )
    args = parser.parse_args()
    if args.shape and len(args.shape) > 2:
        parser.error('--shape takes HEIGHT WIDTH, or one number for both')
    return args


def main() -> None:
    args = parse_args()
    from rich import print as rich_print

    from mmdet_mobilenext.analysis.coverage import assigner_of, measure_coverage
    from mmdet_mobilenext.analysis.coverage_report import (
        coverage_figure,
        coverage_summary,
        coverage_tables,
    )
    from mmdet_mobilenext.analysis.detectors import build_detector, input_size, priors_of
    from mmdet_mobilenext.analysis.objects import annotated_objects, augmented_objects
    from mmdet_mobilenext.analysis.pictures import save_figure
    from mmdet_mobilenext.benchmark.folder import write_json
    from mmdet_mobilenext.benchmark.speed.lineup import be_quiet
    from mmdet_mobilenext.benchmark.speed.plot import check_plot_path
    from mmdet_mobilenext.engine.cli import stop_on_expected_errors
    from mmdet_mobilenext.engine.config import load_config

    be_quiet()
    with stop_on_expected_errors():
        if args.plot:
            check_plot_path(args.plot)
        cfg = load_config(args.config, args.cfg_options)
        size = input_size(cfg, args.shape)
        priors = priors_of(build_detector(cfg), size)
        assigner = assigner_of(cfg)
        sets = {
            'annotated': annotated_objects(cfg, 'train', size, args.number, args.seed),
            'augmented': augmented_objects(cfg, args.number, args.seed),
        }
        summaries = {
            name: coverage_summary(
                objects, measure_coverage(priors, objects, assigner), args.size_edges
            )
            for name, objects in sets.items()
        }
        rich_print(coverage_tables(summaries))
        if args.json:
            write_json(summaries, args.json)
        if args.plot:
            save_figure(coverage_figure(summaries), args.plot)


if __name__ == '__main__':
    main()
