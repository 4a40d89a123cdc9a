# SPDX-License-Identifier: Apache-2.0
"""Errors of the download of data."""

from mmdet_mobilenext.datasets.checks import DataCheckError

__all__ = ['ArchiveError', 'VocDownloadError']


class ArchiveError(DataCheckError):
    """An archive is damaged, or has a member that is not to be unpacked."""


class VocDownloadError(DataCheckError):
    """VOC could not be put in place; the message tells what to do."""
