# SPDX-License-Identifier: Apache-2.0
"""List, fetch and verify published weights (model-index.yml)."""

import argparse
import os
import os.path as osp
import sys

INDEX = osp.join(osp.dirname(osp.dirname(osp.abspath(__file__))), 'model-index.yml')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True)
    listing = commands.add_parser('list', help='a table of what there is')
    fetch = commands.add_parser('fetch', help='download, verify and convert')
    fetch.add_argument('names', nargs='+', metavar='NAME', help='see list')
    fetch.add_argument('--file', help='your copy of the published file, instead of a download')
    fetch.add_argument(
        '--as',
        dest='save_as',
        metavar='NAME',
        help='save under another name: that of the weights in whose place these are used',
    )
    fetch.add_argument(
        '--trust-new',
        action='store_true',
        help='accept another file than the first time, where no checksum is published',
    )
    fetch.add_argument(
        '--force', action='store_true', help='replace weights of another origin in that place'
    )
    verify = commands.add_parser('verify', help='hash again, and check every key')
    verify.add_argument('names', nargs='*', metavar='NAME', help='by default all that are there')
    for command in (listing, fetch, verify):
        command.add_argument(
            '--dest',
            default=os.environ.get('WEIGHTS_ROOT') or 'weights',
            help='folder (default: WEIGHTS_ROOT or weights, where the configs look)',
        )
    args = parser.parse_args()
    if args.command == 'fetch' and len(args.names) > 1 and (args.file or args.save_as):
        parser.error('--file and --as go with one name')
    return args


def main() -> None:
    args = parse_args()
    from rich import print as rich_print

    from mmdet_mobilenext.checkpoints import zoo
    from mmdet_mobilenext.checkpoints.zoo.fetch import check_place, find_entry, how_to_use
    from mmdet_mobilenext.checkpoints.zoo.listing import list_sources

    try:
        index = zoo.read_index(INDEX)
        if args.command == 'list':
            rich_print(zoo.list_weights(index, args.dest))
            print(f'\n{list_sources(index)}')
        elif args.command == 'fetch':
            for entry in [find_entry(index, name) for name in args.names]:
                check_place(index, entry, args.save_as)
                path = zoo.fetch_weights(
                    entry, args.dest, args.file, args.save_as, args.trust_new, args.force
                )
                print(how_to_use(entry, path))
        else:
            findings = zoo.verify_weights(index, args.dest, args.names)
            for finding in findings:
                print(f'{finding.name}: {"WRONG: " + finding.problem if finding.problem else "ok"}')
                if finding.note:
                    print(f'  {finding.note}')
            if not findings:
                sys.exit(f'no weights in {args.dest}: get some with `tools/weights.py fetch NAME`')
            sys.exit(int(any(finding.problem for finding in findings)))
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f'{type(error).__name__}: {error}')


if __name__ == '__main__':
    main()
