# SPDX-License-Identifier: Apache-2.0
"""Detect in images, folders, videos, cameras and streams (docs/demo.md)."""

import argparse
import os
import sys

# Before torch is loaded: see tools/train.py.
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add('model', help='exported file (tools/export.py), or a checkpoint with --config')
    add(
        'inputs',
        nargs='+',
        metavar='INPUT',
        help="image, video, folder, pattern ('*.jpg'), camera (0, /dev/video0) or address "
        '(rtsp://..., http://...)',
    )
    add('--config', help='config of the checkpoint; needs torch and mmdet')
    add(
        '--out-dir',
        default='work_dirs/demo',
        help='folder for pictures and videos with boxes (default: %(default)s)',
    )
    add('--no-save-vis', action='store_true', help='do not write pictures and videos')
    add('--show', action='store_true', help='show them in a window; q or Esc ends')
    add('--json', metavar='FILE', help='write detections as JSON, or as JSON Lines to .jsonl')
    add('--csv', metavar='FILE', help='write detections as CSV')
    add('--score-thr', type=float, default=0.3, help='default: %(default)s')
    add('--classes', nargs='+', metavar='NAME', help='classes to keep (default: all)')
    add('--batch-size', type=int, default=1, help='images at once (default: %(default)s)')
    add('--realtime', action='store_true', help='read files at their pace, drop late frames')
    add('--max-frames', type=int, help='frames to detect in of each video or stream')
    add('--threads', type=int, help='CPU threads of the detector (default: the cores there are)')
    add(
        '--backend',
        choices=['onnxruntime', 'openvino', 'ncnn'],
        help='what runs an exported file; by default its suffix tells',
    )
    add('--device', default='cpu', help='of a checkpoint, such as cuda:0 (default: %(default)s)')
    args = parser.parse_args()
    if args.config and args.backend:
        parser.error('--backend is for exported files, --config for checkpoints')
    if args.device != 'cpu' and not args.config:
        parser.error('--device goes with --config; exported files run on the CPU')
    return args


def main() -> int:
    args = parse_args()
    # A file name that the terminal cannot show must not end the work.
    sys.stdout.reconfigure(errors='backslashreplace')
    sys.stderr.reconfigure(errors='backslashreplace')
    from mmdet_mobilenext.demo.errors import stop_on_demo_errors

    with stop_on_demo_errors(checkpoint=args.config is not None):
        from mmdet_mobilenext.demo.inputs import find_inputs
        from mmdet_mobilenext.demo.load import load_detector
        from mmdet_mobilenext.demo.run import Demo
        from mmdet_mobilenext.runtime.backends import model_files

        inputs = find_inputs(args.inputs, args.out_dir)
        detector = load_detector(
            args.model,
            args.config,
            threads=args.threads,
            backend=args.backend,
            device=args.device,
        )
        demo = Demo(
            detector,
            args.out_dir,
            draw=not args.no_save_vis,
            show=args.show,
            json_file=args.json,
            csv_file=args.csv,
            score_thr=args.score_thr,
            batch_size=args.batch_size,
            classes=args.classes,
            realtime=args.realtime,
            max_frames=args.max_frames,
            keep=[*model_files(args.model), *filter(None, [args.config])],
        )
        summary = demo.run(inputs)
        print(summary)
        if summary.images + summary.frames and not args.no_save_vis:
            print(f'pictures and videos are in {args.out_dir}')
        return summary.exit_code()


if __name__ == '__main__':
    sys.exit(main())
