# SPDX-License-Identifier: Apache-2.0
class InterpolationMode:
    """Only its name is imported."""
