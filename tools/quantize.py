# SPDX-License-Identifier: Apache-2.0
"""Quantise an exported detector to int8, and measure what it costs."""

import argparse
import os

# Before torch is loaded: see tools/train.py.
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model', help='file in float of tools/export.py, .onnx or .xml')
    parser.add_argument('config', help='config file of the detector: its data are used')
    parser.add_argument('out', help='file to write, of the same format')
    parser.add_argument(
        '--images',
        type=int,
        default=300,
        help='images of the training set that ranges are taken from (default: 300)',
    )
    parser.add_argument(
        '--method',
        help='how ranges are found: minmax, the default, percentile or entropy for .onnx, minmax, '
        'mean_minmax, mean_quantile or histogram for .xml',
    )
    parser.add_argument(
        '--bias-correction',
        choices=['fast', 'full', 'none'],
        help='for .xml: fast, the default, full, which is slower and may be better, or none',
    )
    parser.add_argument(
        '--keep-float',
        nargs='+',
        default=[],
        metavar='NAME',
        help='convolutions that stay in float, such as backbone.conv1.conv or "head.*"',
    )
    parser.add_argument(
        '--search',
        action='store_true',
        help='find which convolutions must stay in float for the loss to be at most --max-drop',
    )
    parser.add_argument(
        '--max-drop',
        type=float,
        default=1.0,
        help='points of mAP that may be lost; OUT is not written if more are (default: 1.0)',
    )
    parser.add_argument(
        '--allow-drop', action='store_true', help='write OUT whatever is lost, with a warning in it'
    )
    parser.add_argument('--seed', type=int, default=0, help='of the choice of images')
    parser.add_argument('--force', action='store_true', help='overwrite OUT')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='overrides as key=value; data_root=... moves all data sets',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from mmdet_mobilenext.engine.cli import stop_on_expected_errors
    from mmdet_mobilenext.engine.config import load_config
    from mmdet_mobilenext.export.quantization import QuantizationOptions, quantize

    with stop_on_expected_errors():
        options = QuantizationOptions(
            args.images,
            args.method,
            args.bias_correction,
            args.keep_float,
            args.search,
            args.max_drop,
            args.allow_drop,
            args.seed,
        )
        cfg = load_config(args.config, args.cfg_options)
        print(quantize(args.model, cfg, args.out, options, args.force))


if __name__ == '__main__':
    main()
