# SPDX-License-Identifier: Apache-2.0
"""Measuring: the comparison of detectors, and their speed."""
