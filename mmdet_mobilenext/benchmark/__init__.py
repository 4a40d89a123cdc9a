# SPDX-License-Identifier: Apache-2.0
"""Measuring: speed of training steps and inference."""
