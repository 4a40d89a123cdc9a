# SPDX-License-Identifier: Apache-2.0
"""What is raised when a checkpoint is refused or cannot be read."""

from __future__ import annotations

from .opt_in import ALLOW_UNSAFE_FLAG, ALLOW_UNSAFE_VARIABLE

__all__ = ['CheckpointFileError', 'UnsafeCheckpointError']


class UnsafeCheckpointError(RuntimeError):
    """A checkpoint asks for objects that are not plain weights.

    Attributes:
        filename (str): The file that was refused.
        globals (list[str]): Full names of what it asks for, such as ``posix.system``. Empty if
            the file's format, not a name, is the reason.
    """

    def __init__(self, filename: str, names: list[str], reason: str = '') -> None:
        self.filename = filename
        self.globals = names
        wants = f'asks for {", ".join(names)}' if names else reason
        super().__init__(
            f'Refused to load checkpoint {filename}: it {wants}. '
            'Only tensors and plain data are read from a checkpoint, because anything else can run '
            'code on this machine. Take the file from another source or save its weights alone '
            '(`torch.save(dict(state_dict=model.state_dict()), path)`). If you trust whoever made '
            f'it, pass {ALLOW_UNSAFE_FLAG} to the tool or set {ALLOW_UNSAFE_VARIABLE}=1.'
        )


class CheckpointFileError(RuntimeError):
    """A file is truncated, damaged, not a checkpoint, or not the one that was asked for."""
