# SPDX-License-Identifier: Apache-2.0
"""Show on a web page what exported models find in pictures, side by side."""

import argparse
import sys


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('models', nargs='+', metavar='MODEL', help='file of tools/export.py')
    parser.add_argument(
        '--host',
        default='127.0.0.1',
        help='address to listen on (default: %(default)s, which only this machine reaches)',
    )
    parser.add_argument('--port', type=int, default=7860, help='default: %(default)s')
    parser.add_argument('--backend', choices=('onnxruntime', 'openvino', 'ncnn'))
    parser.add_argument('--threads', type=int, help='of a run (default: the cores there are)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from mmdet_mobilenext.demo.web import load_models, run_server

    try:
        models = load_models(args.models, args.backend, args.threads)
        run_server(models, args.host, args.port)
    except (OSError, ValueError, ImportError) as error:
        sys.exit(f'{type(error).__name__}: {error}')


if __name__ == '__main__':
    main()
