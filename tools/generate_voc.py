#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
"""Generate a data set in the VOC format, for trying the project without downloading VOC."""

import argparse

from mmdet_mobilenext.datasets.generated_voc import DEFAULT_SPLITS, STAMP, generate_voc


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--dest', default='data/VOCdevkit_generated', help='folder to make (default: %(default)s)'
    )
    parser.add_argument('--seed', type=int, default=0, help='default: %(default)s')
    for split, number in DEFAULT_SPLITS.items():
        parser.add_argument(
            f'--{split}', type=int, default=number, help='number of images (default: %(default)s)'
        )
    parser.add_argument(
        '--image-size',
        type=int,
        nargs=2,
        default=(200, 260),
        metavar=('MIN', 'MAX'),
        help='range of the longer side in px (default: 200 260)',
    )
    parser.add_argument(
        '--num-workers', type=int, help='processes (default: one for each CPU, at most 8)'
    )
    parser.add_argument(
        '--force', action='store_true', help='generate again what this tool made there before'
    )
    return parser.parse_args()


def main() -> None:
    """Generate the set and say where it is."""
    args = parse_args()
    try:
        dest = generate_voc(
            args.dest,
            {split: getattr(args, split) for split in DEFAULT_SPLITS},
            image_size=tuple(args.image_size),
            seed=args.seed,
            num_workers=args.num_workers,
            force=args.force,
        )
    except (FileExistsError, ValueError) as error:
        raise SystemExit(f'Error: {error}') from error
    print(f'Generated VOC set: {dest} (see {dest / STAMP})')


if __name__ == '__main__':
    main()
