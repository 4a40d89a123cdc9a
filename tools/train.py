# SPDX-License-Identifier: Apache-2.0
"""Train a detector."""

import argparse
import os
import os.path as osp

# Before torch is loaded: threads that wait by spinning take the cores from the
# data loader's workers (see README, training on the CPU).
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')

from mmengine.config import DictAction

OPTIONS = osp.join(osp.dirname(osp.dirname(osp.abspath(__file__))), 'configs/_base_/options')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, or package::file of an installed package')
    parser.add_argument('--work-dir', help='folder of logs and checkpoints')
    parser.add_argument(
        '--with',
        dest='fragments',
        nargs='+',
        default=[],
        metavar='FRAGMENT',
        help='config fragments on top: names in configs/_base_/options, or .py files',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision in float16')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help='scale the learning rate with the batch size'
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='checkpoint to resume from; without a value, the newest of the work dir that loads',
    )
    parser.add_argument(
        '--allow-partial',
        action='store_true',
        help='let load_from match in part, for fine-tuning with other classes',
    )
    parser.add_argument(
        '--allow-unsafe-checkpoints',
        action='store_true',
        help='let checkpoints run code while they are unpickled; only for files you trust',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='overrides as key=value; data_root=... moves all data sets',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    # torch.distributed.launch passes it; torchrun sets the variable alone.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main() -> None:
    args = parse_args()
    from mmdet_mobilenext.checkpoints.safe_loading import allow_unsafe_checkpoints
    from mmdet_mobilenext.engine.cli import stop_on_expected_errors
    from mmdet_mobilenext.engine.config import load_config
    from mmdet_mobilenext.engine.environment import finish_distributed
    from mmdet_mobilenext.engine.train import train

    with stop_on_expected_errors():
        if args.allow_unsafe_checkpoints:
            allow_unsafe_checkpoints()
        cfg = load_config(
            args.config,
            args.cfg_options,
            args.work_dir,
            args.launcher,
            fragments=args.fragments,
            fragment_folder=OPTIONS,
        )
        train(cfg, args.resume, args.amp, args.auto_scale_lr, args.allow_partial)
        finish_distributed()


if __name__ == '__main__':
    main()
