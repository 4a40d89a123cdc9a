# SPDX-License-Identifier: Apache-2.0
"""Show on a web page what models find in pictures, side by side (docs/web.md)."""

import argparse
import os

# Before torch is loaded: see tools/train.py.
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('models', nargs='*', metavar='MODEL', help='file of tools/export.py')
    parser.add_argument(
        '--checkpoint',
        nargs=2,
        action='append',
        default=[],
        metavar=('CONFIG', 'CHECKPOINT'),
        help='a model for PyTorch; needs torch and mmdet; may be repeated',
    )
    parser.add_argument(
        '--host',
        default='127.0.0.1',
        help='address to listen on (default: %(default)s, which only this machine reaches)',
    )
    parser.add_argument('--port', type=int, default=7860, help='default: %(default)s')
    parser.add_argument(
        '--backend',
        choices=['onnxruntime', 'openvino', 'ncnn'],
        help='what runs an exported file; by default its suffix tells',
    )
    parser.add_argument('--threads', type=int, help='CPU threads (default: the cores there are)')
    args = parser.parse_args()
    if not 0 <= args.port <= 65535:
        parser.error(f'--port must be in 0..65535, but received {args.port}')
    if not args.models and not args.checkpoint:
        parser.error('give one or more MODEL, or --checkpoint')
    return args


def main() -> None:
    args = parse_args()
    from mmdet_mobilenext.demo.errors import stop_on_demo_errors

    with stop_on_demo_errors(checkpoint=bool(args.checkpoint), extra='web'):
        from mmdet_mobilenext.demo.web import load_models, run_server

        models = load_models(args.models, args.checkpoint, args.backend, args.threads)
        run_server(models, args.host, args.port)


if __name__ == '__main__':
    main()
