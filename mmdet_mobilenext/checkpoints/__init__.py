# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: safe loading, strict matching, resuming and conversion."""
