# SPDX-License-Identifier: Apache-2.0
from torchvision import refuse


def __getattr__(name):
    if name.startswith('__'):
        raise AttributeError(name)
    return refuse(f'{__name__}.{name}')
