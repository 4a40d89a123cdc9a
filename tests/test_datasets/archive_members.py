# SPDX-License-Identifier: Apache-2.0
"""Members of archives for tests."""

import io
import tarfile


def add(tar, name, data=b'', **fields):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    tar.addfile(info, io.BytesIO(data))
