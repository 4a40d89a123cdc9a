# SPDX-License-Identifier: Apache-2.0
"""Time detectors from end to end, against stock SSDLite, in interleaved runs (docs/speed.md)."""

import os
from pathlib import Path

# Before torch is loaded: see tools/train.py.
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')


def main() -> None:
    import mmdet_mobilenext  # noqa: F401
    from mmdet_mobilenext.benchmark.speed.command import parse_args, run
    from mmdet_mobilenext.engine.cli import stop_on_expected_errors

    args = parse_args()
    with stop_on_expected_errors():
        run(args, Path(__file__).resolve().parents[1] / 'configs')


if __name__ == '__main__':
    main()
