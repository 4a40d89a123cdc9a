#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, then compares: bash tools/benchmark.sh [options of tools/benchmark.py].
# Without options: both small detectors on generated data.
# PYTHON names another interpreter to start with, MMDET_MOBILENEXT_VENV another environment folder
# (relative to the checkout).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
"${PYTHON:-python3}" tools/setup_env.py
exec "${MMDET_MOBILENEXT_VENV:-.venv}/bin/python" tools/benchmark.py "$@"
