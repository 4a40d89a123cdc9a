# SPDX-License-Identifier: Apache-2.0
"""Check VOC- or COCO-format data sets: lists, files, boxes, and every image decoded in full."""

import argparse
import os.path as osp
import sys
from collections.abc import Sequence

from mmengine.config import DictAction

from mmdet_mobilenext.datasets.checks import (
    COCO_CLASSES,
    VOC_CLASSES,
    CocoSource,
    DataCheckError,
    VOCSource,
    check_sources,
    sources_from_config,
)
from mmdet_mobilenext.engine.config import load_config


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', nargs='?', help='config whose data sets are checked')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='key=value overrides')
    parser.add_argument(
        '--data-root', help='folder with JPEGImages and Annotations in it; of COCO, of the images'
    )
    parser.add_argument(
        '--split',
        nargs='+',
        help='split file(s): a path, or a name such as trainval; of COCO, json file(s)',
    )
    parser.add_argument('--classes', nargs='+', help='default: the 20 of VOC, or the 80 of COCO')
    parser.add_argument('--img-subdir', default='JPEGImages')
    parser.add_argument('--ann-subdir', default='Annotations')
    parser.add_argument('--unknown-classes', choices=('error', 'ignore'))
    parser.add_argument('--no-decode', action='store_true', help='do not decode the images')
    parser.add_argument('--json', metavar='FILE', help='write the report to FILE as well')
    args = parser.parse_args(argv)
    if bool(args.config) == bool(args.data_root):
        parser.error('give either CONFIG or --data-root')
    if bool(args.data_root) != bool(args.split):
        parser.error('--data-root and --split go together')
    if args.cfg_options and not args.config:
        parser.error('--cfg-options needs CONFIG')
    return args


def get_sources(args: argparse.Namespace) -> tuple[list[VOCSource | CocoSource], str]:
    """Return the data sets to check and how to take unknown classes."""
    if args.config:
        cfg = load_config(args.config, args.cfg_options, import_custom_modules=False)
        # Asked for by hand, the check runs even where the config switches it off for training.
        options = cfg.get('data_check', None) or {}
        unknown = options.get('unknown_classes', 'error') if isinstance(options, dict) else 'error'
        return sources_from_config(cfg), args.unknown_classes or unknown
    sources = []
    for split in args.split:
        if split.endswith('.json'):
            classes = tuple(args.classes or COCO_CLASSES)
            sources.append(CocoSource(args.data_root, split, args.data_root, classes))
            continue
        if not osp.isfile(split) and not osp.dirname(split):
            split = f'{osp.splitext(split)[0]}.txt'
            split = osp.join(args.data_root, 'ImageSets', 'Main', split)
        sources.append(
            VOCSource(
                data_root=args.data_root,
                ann_file=split,
                sub_data_root=args.data_root,
                img_subdir=args.img_subdir,
                ann_subdir=args.ann_subdir,
                classes=tuple(args.classes or VOC_CLASSES),
            )
        )
    return sources, args.unknown_classes or 'error'


def main(argv: Sequence[str] | None = None) -> int:
    """Check, print, and return the exit code: 0 without problems, 1 with."""
    args = parse_args(argv)
    # A file name that the terminal cannot show must not end the check.
    sys.stdout.reconfigure(errors='backslashreplace')
    try:
        sources, unknown_classes = get_sources(args)
        report = check_sources(
            sources,
            decode='none' if args.no_decode else 'full',
            unknown_classes=unknown_classes,
            progress=True,
        )
    except (DataCheckError, FileNotFoundError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    print(report)
    if args.json:
        report.write_json(args.json)
    return 0 if report.ok else 1


if __name__ == '__main__':
    sys.exit(main())
