# SPDX-License-Identifier: Apache-2.0
"""PASCAL VOC from nothing: fetched, verified, unpacked and put in place."""

from .archives import VOC_ARCHIVES, VocArchive
from .errors import ArchiveError, VocDownloadError
from .unpack import unpack
from .voc import download_voc

__all__ = [
    'VOC_ARCHIVES',
    'ArchiveError',
    'VocArchive',
    'VocDownloadError',
    'download_voc',
    'unpack',
]
