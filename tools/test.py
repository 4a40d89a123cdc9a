# SPDX-License-Identifier: Apache-2.0
"""Test a detector."""

import argparse
import os

# Before torch is loaded: threads that wait by spinning take the cores from the
# data loader's workers (see README, training on the CPU).
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, or package::file of an installed package')
    parser.add_argument('checkpoint', help='checkpoint file, or a file of tools/export.py')
    parser.add_argument('--work-dir', help='folder of logs')
    parser.add_argument('--out', help='pickle file for the predictions')
    parser.add_argument(
        '--show-dir', help='folder for pictures of ground truth (left) and predictions (right)'
    )
    parser.add_argument(
        '--tta', action='store_true', help='test the image and its mirror image together'
    )
    parser.add_argument(
        '--backend',
        choices=['onnxruntime', 'openvino', 'ncnn'],
        help='what runs an exported file; by default its suffix tells',
    )
    parser.add_argument('--threads', type=int, help='CPU threads that run an exported file')
    parser.add_argument(
        '--allow-unsafe-checkpoints',
        action='store_true',
        help='let the checkpoint run code while it is unpickled; only for files you trust',
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
    from mmdet_mobilenext.engine.test import test
    from mmdet_mobilenext.engine.test_exported import is_exported, test_exported

    with stop_on_expected_errors():
        if args.allow_unsafe_checkpoints:
            allow_unsafe_checkpoints()
        cfg = load_config(args.config, args.cfg_options, args.work_dir, args.launcher)
        for_files = args.backend is not None or args.threads is not None
        if for_files or is_exported(args.checkpoint):
            test_exported(
                cfg,
                args.checkpoint,
                args.backend,
                args.threads,
                args.out,
                args.show_dir,
                tta=args.tta,
            )
        else:
            test(cfg, args.checkpoint, args.out, args.show_dir, args.tta)
        finish_distributed()


if __name__ == '__main__':
    main()
