# SPDX-License-Identifier: Apache-2.0
"""Write the weights of a checkpoint to a file of their own, without what resuming needs."""

import argparse
import sys


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('src', help='checkpoint of a training')
    parser.add_argument('dst', help='file to write; NAME.pth becomes NAME-{sha256}.pth')
    parser.add_argument(
        '--last-weights',
        action='store_true',
        help="the optimizer's weights instead of the average of EMAHook",
    )
    parser.add_argument(
        '--classes',
        nargs='+',
        help='classes to keep: voc, coco or names, in order; by default all',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from mmdet_mobilenext.checkpoints.class_rows import CLASS_SETS
    from mmdet_mobilenext.checkpoints.publish import publish_checkpoint
    from mmdet_mobilenext.engine.cli import stop_on_expected_errors

    classes = args.classes
    if classes and len(classes) == 1:
        classes = CLASS_SETS.get(classes[0], classes)
    with stop_on_expected_errors():
        try:
            path = publish_checkpoint(args.src, args.dst, args.last_weights, classes)
        except ValueError as error:
            sys.exit(f'{type(error).__name__}: {error}')
        print(f'wrote {path}')


if __name__ == '__main__':
    main()
