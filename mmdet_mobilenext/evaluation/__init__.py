# SPDX-License-Identifier: Apache-2.0
"""Accuracy of detectors: matching, metrics, intervals, verdicts and errors."""
