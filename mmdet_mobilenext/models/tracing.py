# SPDX-License-Identifier: Apache-2.0
"""Whether a network is run or recorded."""

import torch

__all__ = ['is_traced']


def is_traced() -> bool:
    """Whether the code runs to be recorded, by ``torch.jit``, ONNX or a compiler."""
    return (
        torch.jit.is_tracing()
        or torch.jit.is_scripting()
        or torch.onnx.is_in_onnx_export()
        or torch.compiler.is_compiling()
    )
