#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
"""Fetch PASCAL VOC 2007 and 2012, verify and unpack it; complete what is there in part."""

import argparse

from mmdet_mobilenext.datasets.download import VOC_ARCHIVES, download_voc
from mmdet_mobilenext.engine.cli import stop_on_expected_errors


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    years = sorted({archive.year for archive in VOC_ARCHIVES})
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--years',
        nargs='+',
        type=int,
        choices=years,
        default=years,
        help='2007: trainval and test, 2012: trainval (default: both)',
    )
    parser.add_argument(
        '--dest', default='data', help='folder to make VOCdevkit in (default: %(default)s)'
    )
    parser.add_argument(
        '--archive',
        nargs='+',
        action='extend',
        default=[],
        metavar='FILE',
        help='archives that you have, under any name; they are not fetched, and not deleted',
    )
    parser.add_argument(
        '--keep-archives', action='store_true', help='keep fetched archives in --dest'
    )
    return parser.parse_args()


def main() -> None:
    """Put the data in place and say where it is."""
    args = parse_args()
    with stop_on_expected_errors():
        download_voc(args.years, args.dest, args.archive, keep_archives=args.keep_archives)


if __name__ == '__main__':
    main()
