# SPDX-License-Identifier: Apache-2.0
"""Throw damaged and hostile image files at an exported detector, or at the web page of it."""

import argparse
import sys


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model', help='exported file; with --url one of those that the page shows')
    parser.add_argument('--strings', type=int, default=10_000, help='default: %(default)s')
    parser.add_argument('--seed', type=int, default=0, help='of the strings (default: %(default)s)')
    parser.add_argument(
        '--seconds', type=float, default=10, help='most that one may take (default: %(default)s)'
    )
    parser.add_argument(
        '--memory',
        type=float,
        default=4000,
        metavar='MB',
        help='address space of the process, 0 for any (default: %(default)s)',
    )
    parser.add_argument('--url', help='address of a page of tools/web.py, to upload them there')
    parser.add_argument('--pid', type=int, help="number of the page's process, to watch its memory")
    parser.add_argument('--json', metavar='FILE', help='write the result to FILE as well')
    args = parser.parse_args()
    if args.strings < 1:
        parser.error('--strings must be at least 1')
    if args.pid and not args.url:
        parser.error('--pid goes with --url')
    return args


def main() -> int:
    args = parse_args()
    import dataclasses
    from pathlib import Path

    from tqdm import tqdm

    from mmdet_mobilenext.benchmark.folder import write_json
    from mmdet_mobilenext.benchmark.speed.command import check_writable
    from mmdet_mobilenext.engine.cli import stop_on_expected_errors
    from mmdet_mobilenext.runtime import Detector
    from mmdet_mobilenext.runtime.fuzzing import fuzz
    from mmdet_mobilenext.runtime.fuzzing.report import summary, versions
    from mmdet_mobilenext.runtime.fuzzing.run import DetectorTarget

    with stop_on_expected_errors():
        Detector(args.model)  # what is wrong with the file is said before anything is started
        if args.json:
            check_writable('--json', Path(args.json))
        if args.url:
            from mmdet_mobilenext.demo.web.fuzzing import PageTarget

            target = PageTarget(args.url, Path(args.model).name, args.pid)
        else:
            target = DetectorTarget(args.model, args.seconds, args.memory)
        with tqdm(total=args.strings, unit='strings') as bar:
            result = fuzz(target, args.strings, args.seed, bar.update)
        if args.json:
            content = dict(
                model=Path(args.model).name,
                target='page' if args.url else 'detector',
                **dataclasses.asdict(result),
                versions=versions(),
            )
            write_json(content, Path(args.json))
    print(summary(result))
    return 1 if result.findings else 0


if __name__ == '__main__':
    sys.exit(main())
