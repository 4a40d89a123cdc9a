# SPDX-License-Identifier: Apache-2.0
"""Parameters, multiply-adds and memory module by module, of one config or of two side by side."""

import argparse

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('configs', nargs='+', help='one or two config files, or mmdet::name')
    parser.add_argument(
        '--depth', type=int, help='depth of modules (default: innermost, 2 to compare)'
    )
    parser.add_argument(
        '--sort', choices=('model', 'parameters', 'madds', 'saved'), default='model'
    )
    parser.add_argument('--top', type=int, help='rows; the others are summed up')
    parser.add_argument(
        '--shape', type=int, nargs='+', help='height and width of the input (default: the config)'
    )
    parser.add_argument(
        '--no-memory', action='store_true', help='parameters and multiply-adds alone'
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='key=value overrides of the configs'
    )
    args = parser.parse_args()
    if len(args.configs) > 2:
        parser.error(f'give one config or two, not {len(args.configs)}')
    if args.shape and len(args.shape) > 2:
        parser.error('--shape takes HEIGHT WIDTH, or one number for both')
    return args


def main() -> None:
    args = parse_args()
    from rich import print as rich_print

    from mmdet_mobilenext.analysis.detectors import build_detector, input_size
    from mmdet_mobilenext.analysis.layers import costs_of, peak_memory
    from mmdet_mobilenext.analysis.layers_report import (
        comparison_table,
        cost_table,
        memory_table,
    )
    from mmdet_mobilenext.benchmark.plan import unique_names
    from mmdet_mobilenext.benchmark.speed.lineup import be_quiet
    from mmdet_mobilenext.engine.cli import stop_on_expected_errors
    from mmdet_mobilenext.engine.config import load_config

    be_quiet()
    with stop_on_expected_errors():
        names = unique_names(args.configs)
        cfgs = [load_config(config, args.cfg_options) for config in args.configs]
        models = [build_detector(cfg) for cfg in cfgs]
        sizes = [input_size(cfg, args.shape) for cfg in cfgs]
        costs = [
            costs_of(model, size, not args.no_memory)
            for model, size in zip(models, sizes, strict=True)
        ]
        if len(costs) == 2:
            rich_print(comparison_table(names, costs, args.depth or 2))
        else:
            rich_print(cost_table(names[0], costs[0], args.depth, args.sort, args.top))
        if not args.no_memory:
            peaks = [peak_memory(model, size) for model, size in zip(models, sizes, strict=True)]
            batches = [cfg.train_dataloader.batch_size for cfg in cfgs]
            rich_print(memory_table(names, peaks, batches))


if __name__ == '__main__':
    main()
