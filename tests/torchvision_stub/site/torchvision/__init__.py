# SPDX-License-Identifier: Apache-2.0
"""Not torchvision: the few names that mmpretrain imports, none of which can be used."""

__version__ = '0.0.0+stub'


class StubUsedError(RuntimeError):
    """Something of torchvision was called that is only a stub."""


def refuse(name):
    """A function that must not be called."""

    def stub(*args, **kwargs):
        raise StubUsedError(f'torchvision is a stub here, and {name} of it was called')

    return stub


from . import ops, transforms  # noqa: E402, F401
