# SPDX-License-Identifier: Apache-2.0
"""Convert a foreign checkpoint to one that this project loads."""

import argparse
import sys


def parse_args() -> argparse.Namespace:
    from mmdet_mobilenext.checkpoints.sources import AUTO, SOURCES
    from mmdet_mobilenext.checkpoints.sources.houqb_detector import SCORES

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('src', help='checkpoint to read')
    parser.add_argument('dst', help='checkpoint to write')
    parser.add_argument(
        '--source',
        default=AUTO,
        choices=[AUTO, *SOURCES],
        help='where the checkpoint is from; by default recognised from its keys',
    )
    parser.add_argument('--classes', nargs='+', help='class names of a detector, in order')
    parser.add_argument(
        '--scores',
        choices=SCORES,
        help='loss that a detector was trained with: sigmoid for the focal loss (the authors on '
        'COCO), softmax for MultiBox loss (on VOC); needed where the file does not tell',
    )
    parser.add_argument('--ema', action='store_true', help='take state_dict_ema')
    parser.add_argument('--force', action='store_true', help='overwrite DST')
    parser.add_argument(
        '--allow-unsafe-checkpoints',
        action='store_true',
        help='let SRC run code while it is unpickled; only for files you trust',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from mmdet_mobilenext.checkpoints.convert import convert_checkpoint
    from mmdet_mobilenext.checkpoints.safe_loading import allow_unsafe_checkpoints

    if args.allow_unsafe_checkpoints:
        allow_unsafe_checkpoints()
    try:
        meta = convert_checkpoint(
            args.src,
            args.dst,
            args.source,
            args.classes,
            use_ema=args.ema,
            force=args.force,
            scores=args.scores,
        )
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f'{type(error).__name__}: {error}')
    print(f'wrote {args.dst}')
    for key, value in meta.items():
        print(f'  {key}: {value}')


if __name__ == '__main__':
    main()
