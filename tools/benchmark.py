# SPDX-License-Identifier: Apache-2.0
"""Compare detectors: train (or take checkpoints), test, measure the cost, and give a verdict."""

import argparse
import os
import os.path as osp
import sys

# Before torch is loaded: see tools/train.py.
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')

from mmengine.config import DictAction

CONFIGS = osp.join(osp.dirname(osp.dirname(osp.abspath(__file__))), 'configs')
DEMO = [osp.join(CONFIGS, f'ssdlite_{name}_demo.py') for name in ('mobilenetv2', 'mobilenext')]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'configs',
        nargs='*',
        default=DEMO,
        help='configs, the baseline first, and files of tools/export.py; by default both small '
        'detectors on generated data',
    )
    parser.add_argument('--work-dir', default='work_dirs/benchmark', help='folder of all results')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0], help='training seeds')
    parser.add_argument(
        '--checkpoints',
        nargs='+',
        default=[],
        help='weights instead of training: config by config, one for each seed',
    )
    parser.add_argument('--data-root', help='root of the data of all configs')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='overrides of all configs as key=value'
    )
    runs = parser.add_argument_group('how it is run')
    runs.add_argument('--jobs', type=int, help='runs at the same time; by default two on a CPU')
    runs.add_argument('--threads', type=int, help='CPU threads of a process; by default all cores')
    runs.add_argument('--launcher', choices=['none', 'pytorch'], default='none')
    runs.add_argument('--processes', type=int, default=1, help='GPUs of a run, with --launcher')
    runs.add_argument(
        '--cluster', choices=['slurm', 'local'], help='hand the runs to a scheduler, by submitit'
    )
    runs.add_argument(
        '--cluster-options',
        nargs='+',
        action=DictAction,
        help='for submitit: timeout_min=600 slurm_partition=gpu gpus_per_node=1 ...',
    )
    more = parser.add_argument_group('what is measured')
    more.add_argument('--resamples', type=int, default=1000, help='of the test images')
    more.add_argument('--latency-runs', type=int, default=100, help='timed predictions')
    more.add_argument('--train-runs', type=int, default=10, help='timed training steps')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from mmdet_mobilenext.benchmark.options import compare_from_options
    from mmdet_mobilenext.engine.cli import stop_on_expected_errors

    with stop_on_expected_errors():
        try:
            page = compare_from_options(**vars(args))
        except KeyboardInterrupt:
            sys.exit('stopped: the same command goes on from here')
        except OSError as error:
            sys.exit(f'{type(error).__name__}: {error}. What is finished is kept')
        print(f'\nreport: {osp.abspath(page)}')


if __name__ == '__main__':
    main()
