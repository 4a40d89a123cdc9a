# SPDX-License-Identifier: Apache-2.0
"""Which classes a detector takes for which: confusion.csv has counts, confusion.svg shares."""

import argparse
import os

# Before torch is loaded: see tools/train.py.
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('predictions', help='predictions.npz of a comparison, or to be written')
    parser.add_argument('out_dir', help='folder for both files')
    parser.add_argument('--config', help='test first, and write the predictions: config file')
    parser.add_argument('--checkpoint', help='test first: weights')
    parser.add_argument('--score-thr', type=float, default=0.3, help='default: %(default)s')
    parser.add_argument('--iou-thr', type=float, default=0.5, help='default: %(default)s')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='key=value overrides of the config'
    )
    args = parser.parse_args()
    if bool(args.config) != bool(args.checkpoint):
        parser.error('--config and --checkpoint go together')
    if args.cfg_options and not args.config:
        parser.error('--cfg-options needs --config')
    return args


def main() -> None:
    args = parse_args()
    import sys

    import mmdet_mobilenext  # noqa: F401
    from mmdet_mobilenext.analysis.confusion_report import predict_records, write_confusion
    from mmdet_mobilenext.engine.cli import stop_on_expected_errors
    from mmdet_mobilenext.engine.config import load_config
    from mmdet_mobilenext.evaluation.records import DetectionRecords, RecordsFileError

    with stop_on_expected_errors():
        try:
            if args.config:
                cfg = load_config(args.config, args.cfg_options)
                records = predict_records(cfg, args.checkpoint, args.predictions)
            else:
                records = DetectionRecords.load(args.predictions)
        except RecordsFileError as error:
            sys.exit(f'{type(error).__name__}: {error}')
        name = args.checkpoint or args.predictions
        paths = write_confusion(records, args.out_dir, name, args.score_thr, args.iou_thr)
        print(f'wrote {" and ".join(map(str, paths))}')


if __name__ == '__main__':
    main()
