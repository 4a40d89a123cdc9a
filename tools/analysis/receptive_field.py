# SPDX-License-Identifier: Apache-2.0
"""Theoretical and effective receptive field of taps, levels and predictions, beside the priors."""

import argparse

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, or mmdet::name')
    parser.add_argument('--checkpoint', help='trained weights (default: random ones)')
    parser.add_argument('--plot', metavar='FILE', help='picture, .png, .svg or .pdf')
    parser.add_argument('--images', type=int, default=20, help='of noise (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of weights and noise')
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
    from mmengine.runner import set_random_seed
    from rich import print as rich_print

    from mmdet_mobilenext.analysis.detectors import build_detector, input_size, prior_generator_of
    from mmdet_mobilenext.analysis.pictures import save_figure
    from mmdet_mobilenext.analysis.receptive_field import (
        detector_maps,
        effective_fields,
        theoretical_fields,
    )
    from mmdet_mobilenext.analysis.receptive_report import field_figure, field_table
    from mmdet_mobilenext.benchmark.speed.lineup import be_quiet
    from mmdet_mobilenext.benchmark.speed.plot import check_plot_path
    from mmdet_mobilenext.engine.cli import stop_on_expected_errors
    from mmdet_mobilenext.engine.config import load_config

    be_quiet()
    with stop_on_expected_errors():
        if args.plot:
            check_plot_path(args.plot)
        set_random_seed(args.seed)
        cfg = load_config(args.config, args.cfg_options)
        size = input_size(cfg, args.shape)
        model = build_detector(cfg, args.checkpoint)
        priors = prior_generator_of(model)
        effective = effective_fields(detector_maps(model), size, args.images, args.seed)
        fields = theoretical_fields(detector_maps, model)
        rich_print(field_table(fields, effective, priors))
        if args.plot:
            names = [name for name in fields if name.startswith('prediction')] or list(fields)
            save_figure(field_figure(names, fields, effective, priors), args.plot)


if __name__ == '__main__':
    main()
