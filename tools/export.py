# SPDX-License-Identifier: Apache-2.0
"""Export a detector to ONNX, OpenVINO or ncnn."""

import argparse
import os

# Before torch is loaded: see tools/train.py.
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, or package::file of an installed package')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('out', help='file to write')
    parser.add_argument(
        '--format',
        choices=['onnx', 'openvino', 'ncnn'],
        help='by default what the suffix of OUT stands for: .onnx, .xml or .param',
    )
    nms = parser.add_mutually_exclusive_group()
    nms.add_argument(
        '--with-nms', dest='with_nms', action='store_true', help='NMS inside, the default'
    )
    nms.add_argument(
        '--raw',
        dest='with_nms',
        action='store_false',
        help='decoded boxes and scores of all priors, without NMS; always so with ncnn',
    )
    parser.add_argument(
        '--size',
        type=int,
        nargs='+',
        help='side, or width and height, in pixels, of another input than the detector was trained '
        'for: test its accuracy',
    )
    batches = parser.add_mutually_exclusive_group()
    batches.add_argument('--batch', type=int, default=1, help='images of a run')
    batches.add_argument(
        '--dynamic-batch', dest='batch', action='store_const', const=None, help='any number'
    )
    parser.add_argument(
        '--color', choices=['bgr', 'rgb'], default='bgr', help='channel order of the input'
    )
    parser.add_argument('--classes', nargs='+', help='class names, if the checkpoint has none')
    parser.add_argument('--score-thr', type=float, help="instead of the config's")
    parser.add_argument('--force', action='store_true', help='overwrite OUT')
    parser.add_argument(
        '--allow-unsafe-checkpoints',
        action='store_true',
        help='let the checkpoint run code while it is unpickled; only for files you trust',
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='overrides as key=value'
    )
    parser.set_defaults(with_nms=True)
    args = parser.parse_args()
    if args.size and len(args.size) > 2:
        parser.error('--size takes one or two numbers')
    return args


def main() -> None:
    args = parse_args()
    from mmdet_mobilenext.checkpoints.safe_loading import allow_unsafe_checkpoints
    from mmdet_mobilenext.engine.cli import stop_on_expected_errors
    from mmdet_mobilenext.export import export

    with stop_on_expected_errors():
        if args.allow_unsafe_checkpoints:
            allow_unsafe_checkpoints()
        path = export(
            args.config,
            args.checkpoint,
            args.out,
            args.format,
            args.with_nms,
            args.force,
            size=(args.size[0], args.size[-1]) if args.size else None,
            color=args.color,
            batch=args.batch,
            classes=args.classes,
            score_thr=args.score_thr,
            cfg_options=args.cfg_options,
        )
    print(f'wrote {path}')


if __name__ == '__main__':
    main()
