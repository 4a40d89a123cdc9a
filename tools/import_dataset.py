#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
"""Import a data set of COCO json or YOLO text into the VOC layout that the configs read, or back.

docs/own_data.md leads from a folder to a trained detector.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mmdet_mobilenext.datasets.importing import ImportDataError, import_dataset
from mmdet_mobilenext.datasets.importing.class_names import read_class_names
from mmdet_mobilenext.datasets.importing.splits import parse_fractions


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    formats = ('coco', 'yolo', 'voc')
    parser.add_argument('--from', dest='source_format', choices=formats, required=True)
    parser.add_argument('--to', dest='target_format', choices=formats, default='voc')
    parser.add_argument(
        'sources',
        nargs='+',
        metavar='SRC',
        help='coco: [SPLIT=]FILE.json ...; yolo: data.yaml or a folder of labels; voc: folders '
        'such as VOCdevkit/VOC2007',
    )
    parser.add_argument(
        '--images', nargs='+', default=[], metavar='DIR', help='image folder, or SPLIT=DIR ...'
    )
    parser.add_argument('--out', required=True, metavar='DIR', help='folder to make')
    split = parser.add_mutually_exclusive_group()
    split.add_argument(
        '--split',
        nargs='+',
        metavar='NAME=SHARE',
        help='draw splits, such as train=0.8 val=0.2, for a source that has none',
    )
    split.add_argument('--split-name', metavar='NAME', help='put all images into this split')
    parser.add_argument('--seed', type=int, default=0, help='of --split (default: %(default)s)')
    parser.add_argument(
        '--classes',
        metavar='NAMES',
        help='classes to keep, in order: a,b,c, or a file with a name a line, or a data.yaml',
    )
    files = parser.add_mutually_exclusive_group()
    files.add_argument(
        '--link', action='store_true', help='link images that need no change (hard, or symbolic)'
    )
    files.add_argument('--copy', action='store_true', help='copy them (default)')
    parser.add_argument(
        '--lossless',
        action='store_true',
        help='write PNG data, not JPEG of quality 95, where an image is encoded anew',
    )
    parser.add_argument(
        '--exif',
        choices=('refuse', 'upright', 'stored'),
        default='refuse',
        help='what boxes refer to in images turned by EXIF whose annotated size does not tell: '
        'the upright image as viewers show it, or the stored one (default: refuse these images)',
    )
    parser.add_argument(
        '--force',
        action='store_true',
        help='replace what was imported to --out, unless files were added or changed there',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    # A file name that the terminal cannot show must not end the import.
    sys.stdout.reconfigure(errors='backslashreplace')
    try:
        report = import_dataset(
            args.sources,
            args.out,
            source_format=args.source_format,
            target_format=args.target_format,
            images=args.images,
            splits=parse_fractions(args.split) if args.split else None,
            split_name=args.split_name,
            seed=args.seed,
            classes=read_class_names(args.classes) if args.classes else None,
            link=args.link,
            lossless=args.lossless,
            exif=args.exif,
            force=args.force,
        )
    except (OSError, ImportDataError) as error:
        raise SystemExit(f'Error: {error}') from error
    print(report)
    facts = report.facts
    print(f'\nSplits: {facts["splits"]}' + (f', drawn: {facts["drawn"]}' if facts['drawn'] else ''))
    print(f'Everything that was dropped or changed: {Path(facts["out"]) / "import_report.json"}')
    print(f'\nLines for a config (docs/own_data.md):\n\n{facts["config"]}')


if __name__ == '__main__':
    main()
