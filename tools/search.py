# SPDX-License-Identifier: Apache-2.0
"""Search cells, train what was found, and compare a search with random search (docs/search.md)."""

import argparse
import os
import sys

# Before torch is loaded: see tools/train.py.
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True)
    crops = commands.add_parser('crops', help='cut the objects out of a VOC-layout folder')
    crops.add_argument('config', help='any config of configs/search')
    search = commands.add_parser('search', help='search cells; goes on with a killed search')
    search.add_argument('config', help='config of the search')
    random = commands.add_parser('random', help='random search in the space of a search')
    random.add_argument('config', help='config of the search')
    train = commands.add_parser('train', help='train found cells from scratch and test them')
    train.add_argument('config', help='config of the training')
    train.add_argument('genotype', help='genotype.json of a search')
    compare = commands.add_parser('compare', help='search, train and test with several seeds')
    compare.add_argument('config', nargs='+', help='configs of searches; the first is compared')
    compare.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2, 3, 4])
    for command in (random, compare):
        command.add_argument('--train', required=True, help='config of the training')
        command.add_argument(
            '--candidate-epochs', type=int, default=2, help='of each candidate (default: 2)'
        )
    size = random.add_mutually_exclusive_group(required=True)
    size.add_argument('--budget', type=float, help='seconds of training and test')
    size.add_argument('--candidates', type=int, help='number of candidates')
    show = commands.add_parser('show', help='print cells, and draw them to a file')
    show.add_argument('genotype', help='genotype.json of a search')
    show.add_argument('--out', help='.png, .svg or .pdf file to draw to')
    for command in (search, random, train):
        command.add_argument('--seed', type=int, default=0)
    for command in (search, random, train, compare):
        command.add_argument('--work-dir', help='folder of logs, checkpoints and results')
    for command in (crops, search, random, train, compare):
        command.add_argument(
            '--cfg-options', nargs='+', action=DictAction, help='overrides as key=value'
        )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from mmdet_mobilenext.engine.cli import stop_on_expected_errors
    from mmdet_mobilenext.search.command import run

    with stop_on_expected_errors():
        try:
            run(args)
        except ValueError as error:
            sys.exit(f'{type(error).__name__}: {error}')


if __name__ == '__main__':
    main()
