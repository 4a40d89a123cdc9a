#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, then runs the tests: bash tools/run_tests.sh [options of pytest]
# PYTHON names another interpreter to start with, MMDET_MOBILENEXT_VENV another environment folder
# (relative to the checkout).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
"${PYTHON:-python3}" tools/setup_env.py --extras tests
exec "${MMDET_MOBILENEXT_VENV:-.venv}/bin/python" -m pytest "$@"
