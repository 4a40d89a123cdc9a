# SPDX-License-Identifier: Apache-2.0
"""What a user looks at before and after a training: data, priors, cost, receptive fields, configs.

The work behind ``tools/analysis`` and ``tools/compare_configs.py``; see docs/analysis.md.
"""
