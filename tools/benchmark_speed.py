# SPDX-License-Identifier: Apache-2.0
"""Time training step and inference of detectors in interleaved runs."""

import argparse
import os
import os.path as osp
import sys

# Before torch is loaded: see tools/train.py.
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')

CONFIGS = osp.join(osp.dirname(osp.dirname(osp.abspath(__file__))), 'configs')
STOCK = 'mmdet::ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'configs',
        nargs='*',
        help='configs to time; by default our two detectors and stock mmdet SSDLite',
    )
    parser.add_argument('--batch-sizes', type=int, nargs='+', default=[1, 8])
    parser.add_argument('--runs', type=int, default=20, help='counted runs of each')
    parser.add_argument('--threads', type=int, help="PyTorch's threads")
    parser.add_argument('--json', help='file for the results')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import torch
    from mmengine.logging import MMLogger
    from mmengine.registry import init_default_scope

    import mmdet_mobilenext  # noqa: F401
    from mmdet_mobilenext.benchmark.speed import build_candidate, compare
    from mmdet_mobilenext.benchmark.speed_report import describe_machine, format_table, write_json

    if args.runs < 1:
        sys.exit(f'--runs must be at least 1, but received {args.runs}')
    if args.threads:
        torch.set_num_threads(args.threads)
    init_default_scope('mmdet')
    # Quiet about the initialization of each weight.
    MMLogger.get_instance('benchmark', log_level='WARNING')
    if args.configs:
        candidates = [build_candidate(osp.basename(c), c) for c in args.configs]
    else:
        candidates = [
            build_candidate('stock mmdet SSDLite MobileNetV2', STOCK, channels_last=False),
            build_candidate('MobileNetV2', osp.join(CONFIGS, 'ssdlite_mobilenetv2_voc.py')),
            build_candidate('MobileNeXt', osp.join(CONFIGS, 'ssdlite_mobilenext_voc.py')),
        ]
    machine = describe_machine()
    print(machine)
    timings = compare(candidates, args.batch_sizes, runs=args.runs)
    print(format_table(timings))
    if args.json:
        write_json(args.json, machine, timings)
        print(f'wrote {args.json}')


if __name__ == '__main__':
    main()
