#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, then runs the tests: bash tools/run_tests.sh [options of pytest]
# PYTHON names another interpreter to start with, MMDET_MOBILENEXT_VENV another environment folder
# (relative to the checkout). The report page is also looked at in a real browser: as root on Debian
# or Ubuntu Chromium is installed for that, unless MMDET_MOBILENEXT_APT=0; without a browser those
# tests are skipped and say so.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
"${PYTHON:-python3}" tools/setup_env.py --extras tests
if [[ "${MMDET_MOBILENEXT_APT:-1}" != 0 ]] && ! command -v chromium > /dev/null \
    && command -v apt-get > /dev/null && [[ "$(id -u)" == 0 ]]; then
    echo 'Installing Chromium with apt-get, for the tests of the report page ...'
    log=$(mktemp)
    export DEBIAN_FRONTEND=noninteractive
    if { apt-get update && apt-get install -y --no-install-recommends chromium; } > "$log" 2>&1; then
        echo '... installed.'
    else
        echo "... failed, those tests will be skipped: $(tail -n 1 "$log")"
    fi
    rm -f "$log"
fi
# A process for each core, four at most; the tests of a file stay together, with their fixtures.
exec "${MMDET_MOBILENEXT_VENV:-.venv}/bin/python" -m pytest -n auto --maxprocesses 4 --dist loadfile "$@"
