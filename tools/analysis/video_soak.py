# SPDX-License-Identifier: Apache-2.0
"""Run the video path on a looped file for hours, and tell whether it keeps up and leaks nothing."""

import argparse
import os

# Before torch is loaded: see tools/train.py.
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add('model', help='exported file, or a checkpoint with --config')
    add('video', help='file')
    add('--config', help='config of the checkpoint')
    add('--minutes', type=float, default=120.0)
    add('--every', type=float, default=30.0, help='seconds between two lines of soak.jsonl')
    add('--fps', type=float, help='frames per second (default: those of the file)')
    add('--roll', type=float, default=60.0, help='seconds of video that soak.mp4 holds')
    add('--warm-up', type=float, default=5.0, help='minutes that the memory slope leaves out')
    add('--max-slope', type=float, default=5.0, help='MB/h of memory from which it is a leak')
    add('--score-thr', type=float, default=0.3)
    add('--threads', type=int, help='CPU threads of the detector')
    add('--device', default='cpu', help='of a checkpoint')
    add('--out-dir', default='work_dirs/soak', help='for soak.jsonl, verdict.json and soak.mp4')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import json
    import sys

    from mmdet_mobilenext.demo.errors import stop_on_demo_errors
    from mmdet_mobilenext.demo.load import load_detector
    from mmdet_mobilenext.demo.soak import soak

    with stop_on_demo_errors(checkpoint=args.config is not None):
        detector = load_detector(args.model, args.config, threads=args.threads, device=args.device)
        verdict = soak(
            args.video,
            detector,
            args.out_dir,
            minutes=args.minutes,
            every=args.every,
            fps=args.fps,
            roll=args.roll,
            warm_up=args.warm_up,
            max_slope=args.max_slope,
            score_thr=args.score_thr,
            report=lambda line: print(line, flush=True),
        )
        print(json.dumps(verdict, indent=2))
    sys.exit(int(verdict['passed'] is False))


if __name__ == '__main__':
    main()
