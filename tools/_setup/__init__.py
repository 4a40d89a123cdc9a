# SPDX-License-Identifier: Apache-2.0
"""The parts of ``tools/setup_env.py``: standard library only, they run before any install."""
