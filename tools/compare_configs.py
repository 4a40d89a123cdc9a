# SPDX-License-Identifier: Apache-2.0
"""Show how two resolved configs differ: in what is compared, and in what should be equal."""

import argparse
import sys

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('first', help='config file, or mmdet::name')
    parser.add_argument('second', help='config file, or mmdet::name')
    parser.add_argument(
        '--strict',
        action='store_true',
        help='exit with 1 if more than backbone, neck and head inputs differ',
    )
    parser.add_argument(
        '--variables', action='store_true', help='list variables that only config files read, too'
    )
    parser.add_argument(
        '--no-model', action='store_true', help='do not build the models to count them'
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='key=value overrides of both configs'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from rich import print as rich_print

    from mmdet_mobilenext.analysis.config_difference import compare_configs, must_be_equal
    from mmdet_mobilenext.analysis.config_report import difference_report, facts_of
    from mmdet_mobilenext.benchmark.speed.lineup import be_quiet
    from mmdet_mobilenext.engine.cli import stop_on_expected_errors
    from mmdet_mobilenext.engine.config import load_config

    be_quiet()
    with stop_on_expected_errors():
        names = [args.first, args.second]
        cfgs = [load_config(name, args.cfg_options) for name in names]
        differences = compare_configs(*cfgs)
        facts = None if args.no_model else [facts_of(cfg) for cfg in cfgs]
        rich_print(difference_report(names, differences, facts, args.variables))
        sys.exit(int(args.strict and bool(must_be_equal(differences))))


if __name__ == '__main__':
    main()
